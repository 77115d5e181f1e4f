//! What files may look like.

use serde_json::json;

use super::{Import, csv};
use crate::support::process::{Ran, answer, at_terminal, program_on};

#[tokio::test]
async fn hundreds_of_tenants_are_made_and_a_second_run_finds_them_there() {
    let import = Import::new().await;
    let ran = import.run("tenants.csv", csv(300), &[]).exits(0);
    assert_eq!(ran.stdout, "300 created, 0 already existed, 0 rejected\n");
    assert_eq!(ran.stderr, "");
    assert_eq!(import.count().await, 300);
    assert!(
        import
            .tenants()
            .await
            .contains(&"t-17 Tenant 17 [\"eu\", \"n17\"] t17.example.org".to_owned())
    );
    import.is_whole();
    let again = import.run("tenants.csv", csv(301), &[]).exits(0);
    assert_eq!(again.stdout, "1 created, 300 already existed, 0 rejected\n");
    let dry = import.run("tenants.csv", csv(1300), &["--dry-run"]).exits(0);
    let said = "999 would be created, 301 already existed, 0 rejected; nothing was changed\n";
    assert_eq!(dry.stdout, said);
    assert_eq!(import.count().await, 301);
}

#[tokio::test]
async fn a_dry_run_makes_no_spares_and_an_import_takes_them() {
    let import = Import::new().await;
    let dry = ["--dry-run", "--spares", "2"];
    import.run("tenants.csv", csv(500), &dry).exits(0);
    assert_eq!(import.count().await, 0);
    let ran = import.run("tenants.csv", csv(30), &["--spares", "2"]).exits(0);
    assert_eq!(ran.stdout, "30 created, 0 already existed, 0 rejected\n");
    assert!(
        import.tenants().await.contains(&"t-7 Tenant 7 [\"eu\", \"n7\"] t7.example.org".into())
    );
    import.is_whole();
}

#[tokio::test]
async fn csv_may_come_out_of_a_spreadsheet() {
    let import = Import::new().await;
    let text = "\u{feff}tags,\"slug\",domain,name\r\n\
                \r\n\
                \"eu; canary\",acme,A.example.org b.example.org;b.example.org,\"Acme, \"\"Ltd\"\"\"\r\n\
                ,  plain , ,\r\n\
                ,,,\r\n\
                eu eu,umlaut,,  Bäcker & Söhne ";
    let ran = import.run("tenants.CSV", text, &["--jobs", "1"]).exits(0);
    assert_eq!(ran.stdout, "3 created, 0 already existed, 0 rejected\n");
    let wanted = [
        "acme Acme, \"Ltd\" [\"canary\", \"eu\"] a.example.org b.example.org",
        "plain",
        "umlaut Bäcker & Söhne [\"eu\"]",
    ];
    assert_eq!(import.tenants().await, wanted);
    // The same tenants, written otherwise.
    let text = "slug\nplain\n";
    let ran = import.run("tenants.csv", text, &[]).exits(0);
    assert_eq!(ran.stdout, "0 created, 1 already existed, 0 rejected\n");
}

#[tokio::test]
async fn json_lines_come_from_a_file_or_a_pipe() {
    let import = Import::new().await;
    let acme = json!({
        "domains": ["a.example.org", "b.example.org"],
        "name": "Acme",
        "slug": "acme",
        "tags": ["eu"],
    });
    let text = format!("\u{feff}{acme}\r\n\r\n{}\n", json!({ "slug": "b", "tags": "x; y" }));
    for name in ["tenants.jsonl", "tenants.ndjson"] {
        import.run(name, &text, &[]).exits(0);
    }
    let more = json!({ "slug": "c", "domain": "c.example.org", "name": null });
    let words = ["tenant", "import", "-", "--format", "jsonl"];
    let ran =
        answer(&mut program_on("tenantry", &import.db.url(), &words), &format!("{text}{more}"));
    assert_eq!(ran.exits(0).stdout, "1 created, 2 already existed, 0 rejected\n");
    let wanted =
        ["acme Acme [\"eu\"] a.example.org b.example.org", "b [\"x\", \"y\"]", "c c.example.org"];
    assert_eq!(import.tenants().await, wanted);
    let words = ["tenant", "import", "-", "--format", "csv"];
    let ran = answer(&mut program_on("tenantry", &import.db.url(), &words), "slug\nd\n");
    assert_eq!(ran.exits(0).stdout, "1 created, 0 already existed, 0 rejected\n");
    // The option wins over the name.
    import.run("tenants.csv", "{\"slug\":\"e\"}", &["--format", "jsonl"]).exits(0);
}

#[tokio::test]
async fn a_file_without_tenants_is_done_at_once() {
    let import = Import::new().await;
    for (name, text) in [("none.csv", "slug,name\n"), ("none.jsonl", ""), ("none.jsonl", "\n\n")] {
        let ran = import.run(name, text, &[]).exits(0);
        assert_eq!(ran.stdout, "0 created, 0 already existed, 0 rejected\n");
    }
}

#[tokio::test]
async fn the_format_of_a_file_must_be_known() {
    // Not reached, so the database need not exist.
    let url = "postgres://localhost:1/none";
    for (words, said) in [
        (vec!["tenants.txt"], "tenants.txt\" is unknown; pass --format csv, jsonl or tar"),
        (vec!["tenants"], "--format csv, jsonl or tar"),
        (vec!["-"], "the format of standard input is unknown"),
        (vec!["tenants.txt", "--format", "xml"], "invalid value 'xml'"),
        (vec!["tenants.csv", "--jobs", "0"], "invalid value '0'"),
        (vec![], "<FILE>"),
    ] {
        let words = [vec!["tenant", "import"], words].concat();
        let ran = Ran::on("tenantry", url, &words).exits(2).complains([said]);
        assert!(ran.stderr.starts_with("error: "), "{ran:#?}");
    }
    let missing = Ran::on("tenantry", url, &["tenant", "import", "nowhere/tenants.csv"]).exits(1);
    assert_eq!(
        missing.stderr,
        "error: nowhere/tenants.csv: No such file or directory (os error 2)\n"
    );
    Ran::on("tenantry", url, &["tenant", "import", ".", "--format", "jsonl"])
        .exits(1)
        .complains(["error: .: ", "directory"]);
}

#[tokio::test]
async fn at_a_terminal_there_is_a_bar_and_elsewhere_there_is_none() {
    let import = Import::new().await;
    let text = csv(40) + "No,,,\n";
    let mut command = import.command("tenants.csv", &text, &[]);
    command.env("TERM", "xterm");
    let ran = at_terminal(&command, "").exits(1);
    // A refused line stands above the bar, the sum below what is left of it.
    ran.says([
        "%  ",
        "/s  ETA ",
        "1 rejected",
        "line 42: slug \"No\": only the lower-case letters",
        "40 created, 0 already existed, 1 rejected\r\n",
    ]);
    let elsewhere = Ran::of(&mut command).exits(1);
    assert!(!elsewhere.stderr.contains("ETA"), "{elsewhere:#?}");
    assert_eq!(elsewhere.stderr.lines().count(), 1, "{elsewhere:#?}");
    // Nor for programs.
    let command = import.command("tenants.csv", &text, &["--json"]);
    let ran = at_terminal(&command, "").exits(1);
    assert!(!ran.stdout.contains("ETA"), "{ran:#?}");
}
