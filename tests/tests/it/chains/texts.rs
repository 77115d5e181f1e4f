//! Handwritten SQL.

use super::{Chain, Migrations, first, sql, ways::works_everywhere};

/// Several statements in one string, all kinds of quotes, comments.
fn texts() -> Migrations {
    vec![
        first(),
        sql(
            "m2_several",
            "-- a; comment
             CREATE TABLE shelves (id int PRIMARY KEY, label text DEFAULT 'a;b' /* ; /* ; */ */);
             INSERT INTO shelves VALUES (1, E'it\\'s; COMMIT'
                 ' -- and more\\';'), (2, U&'d\\0061t; a'), (3, $q$ $$;'; $q$);
             ;;
             CREATE INDEX shelves_label_idx ON shelves (label); -- COMMIT;",
            "DROP INDEX shelves_label_idx; DROP TABLE shelves",
        ),
        sql(
            "m3_block",
            "DO $do$ BEGIN
                 FOR n IN 4..5 LOOP
                     EXECUTE format('INSERT INTO shelves VALUES (%s, %L)', n, ';' || n);
                 END LOOP;
             EXCEPTION WHEN division_by_zero THEN RAISE;
             END $do$;
             UPDATE shelves SET label = label || '$$' WHERE id = 5",
            "DELETE FROM shelves WHERE id > 3",
        ),
        sql(
            "m4_functions",
            "CREATE FUNCTION labels(low int) RETURNS SETOF text LANGUAGE sql STABLE
             BEGIN ATOMIC
                 SELECT CASE WHEN true THEN CASE low WHEN 0 THEN 'x' ELSE 'y' END END AS end;
                 SELECT s.label FROM shelves s WHERE s.id >= low ORDER BY s.id;
             END;
             CREATE PROCEDURE add_shelf(number int) LANGUAGE sql
             BEGIN ATOMIC INSERT INTO shelves VALUES (number, 'new; shelf'); END; CALL add_shelf(6);
             CREATE OR REPLACE FUNCTION six() RETURNS int RETURN 3 + 3;
             INSERT INTO shelves SELECT six() + 1, 'seven' WHERE EXISTS (SELECT FROM labels(6))",
            "DROP FUNCTION six, labels; DROP PROCEDURE add_shelf; DELETE FROM shelves WHERE id > 5",
        ),
        sql(
            "m5_savepoint",
            "SAVEPOINT a; DELETE FROM shelves; ROLLBACK TO SAVEPOINT a; RELEASE a;
             ALTER TABLE \"@tenant\".shelves ADD COLUMN note text DEFAULT '\"@tenant\"'",
            "ALTER TABLE \"@tenant\".shelves DROP COLUMN note",
        ),
    ]
}

#[tokio::test]
async fn several_statements_blocks_quotes_and_sql_bodies_do_the_same_everywhere() {
    let probe = "SELECT id || ' ' || label FROM shelves ORDER BY id";
    let rows = [
        "1 it's; COMMIT -- and more';",
        "2 dat; a",
        "3  $$;'; ",
        "4 ;4",
        "5 ;5$$",
        "6 new; shelf",
        "7 seven",
    ];
    works_everywhere(Chain::new(texts), probe, &rows).await;
}
