use super::*;

const SELECT: &str = r#"SELECT name FROM "@tenant".guards WHERE id = $1"#;
const INSERT: &str = r#"INSERT INTO "@tenant".guards VALUES ($1) RETURNING at"#;
const ID: [LiteralType; 1] = [LiteralType::Uuid];

fn shapes() -> StatementShapes {
    StatementShapes::new(ColdStatements::Literal, false).unwrap()
}

#[test]
fn a_shape_is_learned_from_its_execution() {
    let shapes = shapes();
    assert_eq!(shapes.way(SELECT, &ID, true), Way::Learn);
    shapes.learn(SELECT, ID.into(), None);
    assert_eq!(shapes.way(SELECT, &ID, false), Way::Literals);
    assert_eq!(shapes.way(SELECT, &ID, true), Way::Learn, "no row was seen");
    shapes.learn(SELECT, ID.into(), Some(Columns::Exact));
    assert_eq!(shapes.way(SELECT, &ID, true), Way::Literals);
    shapes.learn(INSERT, ID.into(), Some(Columns::Exact));
    assert_eq!(shapes.way(INSERT, &ID, true), Way::Prepare, "it cannot be sent again");
    assert_eq!(shapes.way(INSERT, &ID, false), Way::Literals);
    let text = "SELECT current_query(), $1";
    shapes.learn(text, ID.into(), Some(Columns::Exact));
    assert_eq!(shapes.way(text, &ID, false), Way::Prepare);
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
    assert_eq!(shapes.way(SELECT, &ID, false), Way::Literals, "rows are ignored");
    let other = "SELECT $1 AS id";
    shapes.learn(other, ID.into(), Some(Columns::Exact));
    shapes.miss(other, Columns::Inexact);
    shapes.learn(other, ID.into(), Some(Columns::Exact));
    assert_eq!(shapes.way(other, &ID, true), Way::Prepare);
}

#[test]
fn a_shape_is_prepared_once_its_rows_are_often_inexact() {
    for (sent, allowed) in [(1, 1), (16, 2), (160, 11)] {
        let shapes = shapes();
        shapes.learn(SELECT, ID.into(), Some(Columns::Exact));
        assert!((0..sent).all(|_| shapes.way(SELECT, &ID, true) == Way::Literals));
        (0..allowed).for_each(|_| shapes.miss(SELECT, Columns::Exact));
        let found = shapes.known().shapes[SELECT].columns;
        assert_eq!(found, Some(Columns::Exact), "{sent}");
        shapes.miss(SELECT, Columns::Exact);
        assert_eq!(shapes.way(SELECT, &ID, true), Way::Prepare, "{sent}");
    }
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
    assert!(StatementShapes::new(ColdStatements::Prepared, false).is_none());
}
