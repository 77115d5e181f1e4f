//! `docs/BENCHMARKS.md`: each benchmark writes its own section.

use std::{fs, path::PathBuf, process::Command};

const HEAD: &str = "# Benchmarks

Made by `./dev bench`: every benchmark writes its section here. Ratios compare contenders that took \
turns in the same run; the absolute numbers are of the machine named in the section. Autovacuum is \
off; instead, the sections with many tenants analyse all tables before they measure.
";

/// Replaces the section of this name, or appends it.
pub fn write(name: &str, title: &str, postgres: u32, body: &str) {
    let page = root().join("docs/BENCHMARKS.md");
    let text = fs::read_to_string(&page).unwrap_or_else(|_| HEAD.to_owned());
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n"));
    let section = format!("{begin}## {title}\n\n{}\n\n{}\n{end}", setting(postgres), body.trim());
    let text = match (text.find(&begin), text.find(&end)) {
        (Some(from), Some(to)) => {
            format!("{}{section}{}", &text[..from], &text[to + end.len()..])
        }
        _ => format!("{text}\n{section}"),
    };
    fs::write(&page, text).unwrap();
    println!("{section}");
}

/// Machine, versions and date.
fn setting(postgres: u32) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpu = cpu.map_or(std::env::consts::ARCH, |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rustc = Command::new("rustc").arg("--version").output().unwrap().stdout;
    let rustc = String::from_utf8(rustc).unwrap();
    let rustc: Vec<&str> = rustc.split(' ').take(2).collect();
    format!(
        "{}, {cores} cores ({cpu}); PostgreSQL {postgres} with data in memory, over its Unix socket, autovacuum off; {}.",
        chrono::Utc::now().format("%Y-%m-%d"),
        rustc.join(" ")
    )
}

/// The folder of the workspace.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
