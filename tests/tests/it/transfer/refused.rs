//! Archives that are damaged, or made by someone else.

use tenantry::{Error, TransferError};

use super::{Wide, assert_nothing, create_filled, export, import, tenancy};
use crate::support::{
    TestDb, slug,
    sql_migration::{BOOKS, sql_migrator},
};

const BLOCK: usize = 512;

/// The entries of an archive: their paths, and where their headers begin and their data end.
fn entries(archive: &[u8]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while archive[at] != 0 {
        let header = &archive[at..at + BLOCK];
        let text = |from: usize, to: usize| {
            let field = header[from..to].split(|byte| *byte == 0).next().unwrap();
            String::from_utf8(field.to_vec()).unwrap()
        };
        let size = usize::from_str_radix(&text(124, 136), 8).unwrap();
        let end = at + BLOCK + size.next_multiple_of(BLOCK);
        found.push((text(0, 100), at, end));
        at = end;
    }
    found
}

/// An archive of these entries, with the right checksums of tar.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, data) in entries {
        let mut header = [0; BLOCK];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[148..156].copy_from_slice(b"        ");
        header[156] = b'0';
        header[257..263].copy_from_slice(b"ustar\0");
        header[263..265].copy_from_slice(b"00");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend(header);
        bytes.extend(*data);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

/// A tenancy with books, and the parts of an export: manifest, rows, end.
async fn books() -> (TestDb, tenantry::Tenancy, [Vec<u8>; 3], String) {
    let db = TestDb::new().await;
    let tenancy = tenancy(&db, sql_migrator([BOOKS])).await;
    create_filled(&tenancy, &db.plain().await, "INSERT INTO books VALUES ('1', 'One')").await;
    let bytes = export(&tenancy).await;
    let found = entries(&bytes);
    let part = |number: usize| {
        let (_, from, to) = &found[number];
        let data = &bytes[from + BLOCK..*to];
        // Neither JSON nor text of COPY ends with a zero.
        let end = data.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        data[..end].to_vec()
    };
    let path = found[1].0.clone();
    assert_eq!(found.len(), 3);
    (db, tenancy, [part(0), part(1), part(2)], path)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_cut_off_after_any_entry_is_refused() {
    let wide = Wide::new().await;
    let archive = wide.export().await;
    let two = slug("tenant-2");
    let found = entries(&archive);
    let mut ends: Vec<usize> =
        found.iter().flat_map(|(_, from, to)| [*from, from + BLOCK, *to]).collect();
    ends.extend([archive.len() - BLOCK, archive.len() - 1]);
    for end in ends {
        let error = import(&wide.tenancy, &archive[..end], "tenant-2").await.unwrap_err();
        let truncated = matches!(error, Error::Transfer(TransferError::Truncated { .. }));
        assert!(truncated, "{end} of {}: {error}", archive.len());
        assert_nothing(&wide.tenancy, &wide.plain, &two).await;
    }
    // A part that is missing, twice there, or in another place.
    for (_, from, to) in found {
        let without = [&archive[..from], &archive[to..]].concat();
        let twice = [&archive[..to], &archive[from..]].concat();
        for changed in [without, twice] {
            let error = import(&wide.tenancy, &changed, "tenant-2").await.unwrap_err();
            assert!(matches!(error, Error::Transfer(_)), "{error}");
        }
        assert_nothing(&wide.tenancy, &wide.plain, &two).await;
    }
    import(&wide.tenancy, &archive, "tenant-2").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_with_a_changed_byte_is_refused() {
    let (db, tenancy, parts, path) = books().await;
    let plain = db.plain().await;
    let whole =
        archive(&[("manifest.json", &parts[0]), (&path, &parts[1]), ("end.json", &parts[2])]);
    let step = 37;
    let mut tried = 0;
    for at in (0..whole.len()).step_by(step) {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        let error = import(&tenancy, &changed, "tenant-2").await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Transfer(_) | Error::Name(_)), "byte {at}: {text}");
        tried += 1;
    }
    assert!(tried > 60, "only {tried} bytes were changed");
    assert_nothing(&tenancy, &plain, &slug("tenant-2")).await;
    import(&tenancy, &whole, "tenant-2").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_archives_are_refused_and_nothing_is_created() {
    let (db, tenancy, [manifest, rows, end], path) = books().await;
    let plain = db.plain().await;
    let (manifest, end) = (String::from_utf8(manifest).unwrap(), String::from_utf8(end).unwrap());
    let refused = async |entries: &[(&str, &[u8])], said: &str| {
        let error = import(&tenancy, &archive(entries), "tenant-2").await.unwrap_err();
        assert!(error.to_string().contains(said), "{said}: {error}");
        assert_nothing(&tenancy, &plain, &slug("tenant-2")).await;
    };
    let with = |from: &str, to: &str| {
        assert!(manifest.contains(from), "no {from} in {manifest}");
        manifest.replace(from, to)
    };
    let m = "manifest.json";
    let rest: [(&str, &[u8]); 2] = [(&path, &rows), ("end.json", end.as_bytes())];
    for (changed, said) in [
        (with("\"format\":1", "\"format\":2"), "has format 2"),
        (with("\"format\":1", "\"format\":1,\"other\":1"), "unknown field `other`"),
        (with("\"name\":\"books\"", "\"name\":\"books\\\"; DROP TABLE x; --\""), "no table"),
        (with("\"name\":\"isbn\"", "\"name\":\"title\""), "twice"),
        (with("\"type\":\"text\"", "\"type\":\"integer\""), "has type integer in the tenant"),
        (with("[\"m1_books\"]", "[\"m1_books\",\"m1_books\"]"), "twice"),
        (with("[\"m1_books\"]", "[]"), "create no table"),
        (with("\"tags\":[]", "\"tags\":[\"Not A Tag\"]"), "tag"),
        (with("\"tags\":[]", "\"tags\":[\"eu\"]"), "checksum"),
        ("{".repeat(100_000), "manifest.json"),
        (String::new(), "manifest.json"),
    ] {
        let entries = [[(m, changed.as_bytes())].as_slice(), &rest].concat();
        refused(&entries, said).await;
    }
    let m = (m, manifest.as_bytes());
    for odd in ["/etc/passwd", "../x", "data/../manifest.json", "data/00002_books/000000000.copy"] {
        refused(&[m, (odd, &rows), rest[1]], odd).await;
        refused(&[(odd, m.1), rest[0], rest[1]], odd).await;
    }
    refused(&[rest[0], m, rest[1]], "where \"manifest.json\" is expected").await;
    refused(&[m, rest[1], rest[0]], "rows of \"books\"").await;
    // Rows that the manifest does not announce, and rows that the database refuses.
    let [more, broken, ended, twice]: [&[u8]; 4] =
        [b"1\tOne\n2\tTwo\n", b"1\tOne\textra\n", b"1\tOne\n\\.\n", b"1\tOne\n1\tTwo\n"];
    refused(&[m, (&path, more), rest[1]], "2 rows of \"books\"").await;
    refused(&[m, (&path, ended), rest[1]], "books").await;
    for rows in [broken, twice] {
        refused(&[m, (&path, rows), rest[1]], "table \"books\" cannot be loaded").await;
    }
    let mut huge = archive(&[m]);
    huge.truncate(huge.len() - 2 * BLOCK);
    let mut bytes = archive(&[(&path, &rows)]);
    // As if it had eight gigabytes.
    bytes[124..135].copy_from_slice(b"77777777777");
    huge.extend(bytes);
    let error = import(&tenancy, &huge, "tenant-2").await.unwrap_err();
    assert!(matches!(error, Error::Transfer(_)), "{error}");
    assert_nothing(&tenancy, &plain, &slug("tenant-2")).await;
    // More than the end, such as another archive.
    let whole = archive(&[m, rest[0], rest[1]]);
    let error = import(&tenancy, &[&*whole, &*whole].concat(), "tenant-2").await.unwrap_err();
    assert!(error.to_string().contains("other data follow"), "{error}");
    // Zeros follow, if it was padded.
    let padded = [&*whole, &[0; 8192]].concat();
    import(&tenancy, &padded, "tenant-2").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_refer_to_large_objects_are_refused() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let files = crate::support::sql_migration::Sql {
        name: "m1_files",
        up: "CREATE TABLE files (id int PRIMARY KEY, content oid)",
        ..BOOKS
    };
    let tenancy = tenancy(&db, sql_migrator([files])).await;
    create_filled(&tenancy, &plain, "INSERT INTO files VALUES (1, 42), (2, NULL)").await;
    export(&tenancy).await;
    let large = "INSERT INTO tenant_1.files VALUES (3, lo_from_bytea(0, 'x'))";
    sea_orm::ConnectionTrait::execute_unprepared(&plain, large).await.unwrap();
    let refused = tenancy.export(&slug("tenant-1"), Vec::new(), &Default::default()).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("column \"content\" of table \"files\""), "{text}");
}
