use super::*;

const SELECT: &str = r#"SELECT name FROM "@tenant".guards WHERE id = $1"#;
const INSERT: &str = r#"INSERT INTO "@tenant".guards VALUES ($1) RETURNING at"#;
const ID: [LiteralType; 1] = [LiteralType::Uuid];

fn shapes() -> StatementShapes {
    StatementShapes::new(ColdStatements::Literal).unwrap()
}

fn literals(only_reads: bool) -> Way {
    Way::Literals { only_reads }
}

#[test]
fn a_shape_is_learned_from_its_execution() {
    let shapes = shapes();
    assert_eq!(shapes.way(SELECT, &ID, true), Way::Learn);
    shapes.learn(SELECT, ID.into(), None);
    assert_eq!(shapes.way(SELECT, &ID, false), literals(true));
    assert_eq!(shapes.way(SELECT, &ID, true), Way::Learn, "no row was seen");
    shapes.learn(SELECT, ID.into(), Some(Columns::Exact));
    assert_eq!(shapes.way(SELECT, &ID, true), literals(true));
    shapes.learn(INSERT, ID.into(), Some(Columns::Exact));
    assert_eq!(shapes.way(INSERT, &ID, true), literals(false));
}

#[test]
fn parameters_of_other_types_are_prepared() {
    let shapes = shapes();
    shapes.learn(SELECT, ID.into(), Some(Columns::Exact));
    for other in [&[][..], &[LiteralType::Text], &[LiteralType::Uuid, LiteralType::Uuid]] {
        assert_eq!(shapes.way(SELECT, other, false), Way::Prepare, "{other:?}");
    }
}

#[test]
fn columns_of_other_types_are_prepared_from_then_on() {
    let shapes = shapes();
    shapes.learn(SELECT, ID.into(), Some(Columns::Inexact));
    assert_eq!(shapes.way(SELECT, &ID, true), Way::Prepare);
    assert_eq!(shapes.way(SELECT, &ID, false), literals(true), "rows are ignored");
    shapes.learn(INSERT, ID.into(), Some(Columns::Exact));
    shapes.set_inexact(INSERT);
    shapes.learn(INSERT, ID.into(), Some(Columns::Exact));
    assert_eq!(shapes.way(INSERT, &ID, true), Way::Prepare);
}

#[test]
fn long_statements_are_not_remembered() {
    let long = "-".repeat(MAX_SHAPE + 1);
    assert_eq!(shapes().way(&long, &[], true), Way::Prepare);
    assert_eq!(shapes().way(&long[1..], &[], true), Way::Learn);
}

#[test]
fn memory_is_bounded() {
    let shapes = shapes();
    for number in 0..=CAPACITY {
        assert_eq!(shapes.known().shapes.len(), number);
        shapes.learn(&number.to_string(), Vec::new(), None);
    }
    assert_eq!(shapes.known().shapes.len(), 1);
    for number in 0..2 * MAX_BYTES / MAX_SHAPE {
        shapes.learn(&format!("{number:0MAX_SHAPE$}"), Vec::new(), None);
        let known = shapes.known();
        let bytes: usize = known.shapes.keys().map(|shape| shape.len()).sum();
        assert_eq!(known.bytes, bytes);
        assert!(bytes <= MAX_BYTES);
    }
}

#[test]
fn prepared_statements_have_no_shapes() {
    assert!(StatementShapes::new(ColdStatements::Prepared).is_none());
}
