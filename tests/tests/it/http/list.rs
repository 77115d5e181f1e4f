//! `/guards`: filters and pages.

use serde_json::json;

use super::{Site, names};

#[tokio::test]
async fn guards_are_filtered_by_position_to_the_letter() {
    let (_site, one, _) = Site::with_tenants().await;
    for (name, position) in [("Abu", "Guard"), ("Bea", "guard"), ("Cem", "Night Guard")] {
        one.guard(name, position).await;
    }
    assert_eq!(one.names("/guards?position=Guard").await, ["Abu"]);
    assert_eq!(one.names("/guards?position=Night%20Guard").await, ["Cem"]);
    assert!(one.names("/guards?position=Gua%25").await.is_empty());
    assert_eq!(one.names("/guards?position=guard&search=BE").await, ["Bea"]);
    assert!(one.names("/guards?position=Guard&search=BE").await.is_empty());
}

#[tokio::test]
async fn guards_are_searched_by_any_part_of_their_name_in_any_case() {
    let (_site, one, _) = Site::with_tenants().await;
    for name in ["Abu Bakr", "ABUNDA", "Jörg"] {
        one.guard(name, "Guard").await;
    }
    assert_eq!(one.names("/guards?search=aBu").await, ["Abu Bakr", "ABUNDA"]);
    assert_eq!(one.names("/guards?search=bak").await, ["Abu Bakr"]);
    assert_eq!(one.names("/guards?search=J%C3%96R").await, ["Jörg"]);
    assert!(one.names("/guards?search=zoe").await.is_empty());
    assert_eq!(one.names("/guards?search=").await.len(), 3);
}

#[tokio::test]
async fn signs_that_mean_something_in_a_pattern_stand_for_themselves() {
    let (_site, one, _) = Site::with_tenants().await;
    let all = ["100% sure", "100 sure", "a_b", "axb", r"c\d", "cd", "it's"];
    for name in all {
        one.guard(name, "Guard").await;
    }
    for (search, found) in [
        ("%25", "100% sure"),
        ("0%25%20s", "100% sure"),
        ("_", "a_b"),
        ("a_b", "a_b"),
        ("%5C", r"c\d"),
        ("c%5Cd", r"c\d"),
        ("%27", "it's"),
    ] {
        let path = format!("/guards?search={search}");
        assert_eq!(one.names(&path).await, [found], "{path}");
    }
    assert!(one.names("/guards?search=%5C%25").await.is_empty());
}

#[tokio::test]
async fn a_text_that_no_row_can_hold_finds_nothing() {
    let (_site, one, _) = Site::with_tenants().await;
    one.guard("Abu", "Guard").await;
    // PostgreSQL's text has no NUL; it is asked for all the same.
    for path in ["/guards?search=%00", "/guards?position=Guard%00"] {
        let answer = one.get(path).await;
        assert!(answer.status < 500, "{path}: {answer:#?}");
    }
}

#[tokio::test]
async fn page_by_page_every_guard_comes_exactly_once() {
    let (_site, one, two) = Site::with_tenants().await;
    let all = ["Abu", "Bea", "Cem", "Dov", "Eva"];
    for name in all {
        one.guard(name, "Guard").await;
        two.guard("Zoe", "Guard").await;
    }
    let mut seen = Vec::new();
    let mut sizes = Vec::new();
    let mut path = "/guards?limit=2".to_owned();
    loop {
        let page = one.get(&path).await.is(200).json();
        assert!(page.get("count").is_none(), "not requested: {page}");
        let names = names(&page);
        sizes.push(names.len());
        seen.extend(names);
        match page["next"].as_str() {
            Some(next) => path = format!("/guards?limit=2&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, all);
    assert_eq!(sizes, [2, 2, 1]);
    let whole = one.get("/guards?limit=5").await.is(200).json();
    assert_eq!(whole["next"], json!(null), "five of five are all");
}

#[tokio::test]
async fn guards_that_come_and_go_between_pages_move_nothing() {
    let (_site, one, _) = Site::with_tenants().await;
    let mut paths = Vec::new();
    for name in ["Abu", "Bea", "Cem", "Dov"] {
        paths.push(one.guard(name, "Guard").await);
    }
    let first = one.get("/guards?limit=2").await.is(200).json();
    assert_eq!(names(&first), ["Abu", "Bea"]);
    // The very row that the next page begins behind.
    for path in &paths[..2] {
        one.delete(path).await.is(204);
    }
    one.guard("Eva", "Guard").await;
    let next = first["next"].as_str().unwrap();
    let rest = one.names(&format!("/guards?after={next}")).await;
    assert_eq!(rest, ["Cem", "Dov", "Eva"]);
}

#[tokio::test]
async fn the_count_is_that_of_all_pages_under_the_same_filter() {
    let (_site, one, two) = Site::with_tenants().await;
    for (name, position) in [("Abu", "Guard"), ("Bea", "Porter"), ("Cem", "Guard")] {
        one.guard(name, position).await;
    }
    two.guard("Zoe", "Guard").await;
    for (query, count) in [
        ("count=true&limit=1", 3),
        ("count=true&limit=1&position=Guard", 2),
        ("count=true&search=b", 2),
        ("count=true&search=zoe", 0),
    ] {
        let page = one.get(&format!("/guards?{query}")).await.is(200).json();
        assert_eq!(page["count"], count, "{query}");
    }
    let page = one.get("/guards?count=false").await.is(200).json();
    assert!(page.get("count").is_none(), "{page}");
}

#[tokio::test]
async fn a_limit_out_of_range_is_moved_to_the_nearer_end() {
    let (_site, one, _) = Site::with_tenants().await;
    for name in ["Abu", "Bea", "Cem"] {
        one.guard(name, "Guard").await;
    }
    assert_eq!(one.names("/guards?limit=0").await, ["Abu"]);
    let most = format!("/guards?limit={}", u64::MAX);
    assert_eq!(one.names(&most).await.len(), 3);
}
