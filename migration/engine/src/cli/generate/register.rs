//! Adds a migration to its crate's `lib.rs`, and changes nothing else in the file.

/// `max_width` of rustfmt.toml.
const MAX_WIDTH: usize = 100;

/// `text` with `module` declared and listed, or `None` if the list is not a `vec![…]`.
pub(super) fn register(text: &str, module: &str) -> Option<String> {
    declared(&listed(text, module)?, module)
}

/// Adds `mod …;` after the last one, or after the last `use …;`.
fn declared(text: &str, module: &str) -> Option<String> {
    let declaration = format!("mod {module};\n");
    let mut at = 0;
    let (mut last_mod, mut last_use) = (None, None);
    for line in text.split_inclusive('\n') {
        at += line.len();
        let ends = line.trim_end().ends_with(';');
        if line.starts_with("mod ") && ends {
            last_mod = Some(at);
        } else if line.starts_with("use ") && ends {
            last_use = Some(at);
        }
    }
    let (at, declaration) = match (last_mod, last_use) {
        (Some(at), _) => (at, declaration),
        (None, Some(at)) => (at, format!("\n{declaration}")),
        (None, None) => return None,
    };
    Some(format!("{}{declaration}{}", &text[..at], &text[at..]))
}

/// Adds `Box::new(…::Migration)` at the end of the `vec![…]` in `fn migrations`.
fn listed(text: &str, module: &str) -> Option<String> {
    let function = text.find("fn migrations(")?;
    let open = function + text[function..].find("vec![")? + "vec![".len();
    let close = open + text[open..].find(']')?;
    let inside = &text[open..close];
    let item = format!("Box::new({module}::Migration)");
    let line_begin = text[..open].rfind('\n').map_or(0, |at| at + 1);
    let line = &text[line_begin..open];
    let indent = &line[..line.len() - line.trim_start().len()];
    let (before, after) = (&text[..open], &text[close..]);

    let items = inside.trim().trim_end_matches(',');
    if inside.contains('\n') && !items.is_empty() {
        let body = inside.trim_end();
        let comma = if body.ends_with(',') { "" } else { "," };
        return Some(format!("{before}{body}{comma}\n{indent}    {item},\n{indent}{after}"));
    }
    let items = if items.is_empty() { item.clone() } else { format!("{items}, {item}") };
    if line.len() + items.len() < MAX_WIDTH {
        return Some(format!("{before}{items}{after}"));
    }
    let items = items.replace("), Box", &format!("),\n{indent}    Box"));
    Some(format!("{before}\n{indent}    {items},\n{indent}{after}"))
}

#[cfg(test)]
mod tests {
    use super::register;

    fn file(modules: &str, list: &str) -> String {
        format!("use a::b;\n{modules}\nfn migrations() {{\n    {list}\n}}\n")
    }

    #[test]
    fn adds_to_lists_in_each_layout() {
        let long = "m20261123_000001_a_name_that_needs_a_line_of_its_own_because_it_is_long";
        for (modules, list, expected) in [
            ("", "vec![]", "vec![Box::new(new::Migration)]".to_owned()),
            (
                "\nmod old;\n",
                "vec![Box::new(old::Migration)]",
                "vec![Box::new(old::Migration), Box::new(new::Migration)]".to_owned(),
            ),
            (
                "\nmod old;\n",
                "vec![\n        Box::new(old::Migration),\n    ]",
                "vec![\n        Box::new(old::Migration),\n        Box::new(new::Migration),\n    ]"
                    .to_owned(),
            ),
            (
                "\nmod old;\n",
                &format!("vec![Box::new({long}::Migration)]"),
                format!(
                    "vec![\n        Box::new({long}::Migration),\n        \
                     Box::new(new::Migration),\n    ]"
                ),
            ),
        ] {
            let modules_after = if modules.is_empty() { "\nmod new;\n" } else { "\nmod old;\nmod new;\n" };
            let result = register(&file(modules, list), "new").unwrap();
            assert_eq!(result, file(modules_after, &expected));
        }
    }

    #[test]
    fn rejects_other_lists() {
        assert_eq!(register("mod a;\nfn migrations() { all() }", "new"), None);
        assert_eq!(register("fn other() { vec![] }", "new"), None);
        assert_eq!(register("fn migrations() { vec![] }", "new"), None);
    }
}
