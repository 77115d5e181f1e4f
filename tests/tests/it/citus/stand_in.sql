-- A stand-in for the parts of Citus that the product asks, on plain PostgreSQL. It places nothing:
-- the tables stay where they are, and only the catalog says that they are on a node.
--
-- Names, columns and messages are those of Citus 13 (github.com/citusdata/citus: sql/citus--11.3-1--12.0-1.sql,
-- sql/udfs, commands/schema_based_sharding.c, operations/shard_transfer.c).
SET allow_system_table_mods = on;
CREATE SCHEMA stand_in;
CREATE SEQUENCE stand_in.colocation;
CREATE SEQUENCE stand_in.shard START 102008;

CREATE TABLE pg_catalog.pg_dist_schema (schemaid oid PRIMARY KEY, colocationid int UNIQUE);
CREATE TABLE pg_catalog.pg_dist_partition (
    logicalrelid oid PRIMARY KEY, partmethod "char", colocationid int, repmodel "char");
CREATE TABLE pg_catalog.pg_dist_shard (logicalrelid oid, shardid bigint PRIMARY KEY);
CREATE TABLE pg_catalog.pg_dist_placement (shardid bigint PRIMARY KEY, groupid int);
CREATE TABLE pg_catalog.pg_dist_node (nodeid int PRIMARY KEY, groupid int, nodename text,
    nodeport int, noderole text, isactive boolean, shouldhaveshards boolean);
INSERT INTO pg_catalog.pg_dist_node VALUES
    (1, 0, 'coordinator', 5432, 'primary', true, false),
    (2, 1, 'worker-1', 5432, 'primary', true, true),
    (3, 2, 'worker-2', 5432, 'primary', true, true);

CREATE FUNCTION stand_in.sizes(OUT shard_id bigint, OUT size bigint) RETURNS SETOF record
LANGUAGE sql AS 'SELECT shardid, pg_relation_size(logicalrelid) FROM pg_dist_shard';

CREATE VIEW pg_catalog.citus_shards AS
SELECT s.logicalrelid::regclass AS table_name, s.shardid, 'schema'::text AS citus_table_type,
    p.colocationid AS colocation_id, d.nodename, d.nodeport, z.size AS shard_size
FROM pg_dist_shard s JOIN pg_dist_partition p USING (logicalrelid)
JOIN pg_dist_placement l USING (shardid) JOIN pg_dist_node d USING (groupid)
LEFT JOIN (SELECT shard_id, max(size) AS size FROM stand_in.sizes() GROUP BY 1) z
    ON z.shard_id = s.shardid;

CREATE VIEW pg_catalog.citus_stat_activity AS
SELECT 2 AS nodeid, true AS is_worker_query, datname, pid, application_name, state
FROM pg_stat_activity;

CREATE TABLE stand_in.progress (table_name regclass, sourcename text, sourceport int,
    targetname text, targetport int, source_shard_size bigint, target_shard_size bigint);
CREATE FUNCTION pg_catalog.get_rebalance_progress(OUT table_name regclass,
    OUT sourcename text, OUT sourceport int, OUT targetname text, OUT targetport int,
    OUT source_shard_size bigint, OUT target_shard_size bigint) RETURNS SETOF record
LANGUAGE sql AS 'SELECT * FROM stand_in.progress';

-- Moves as Citus does: refuses a table without a key, and locks the tables against DDL meanwhile.
-- `stand_in.seconds` makes it slow.
CREATE FUNCTION pg_catalog.citus_schema_move(schema_id regnamespace, target_node_name text,
    target_node_port int, shard_transfer_mode text DEFAULT 'auto') RETURNS void
LANGUAGE plpgsql AS $move$
DECLARE lacking text; it record;
BEGIN
    FOR it IN SELECT logicalrelid::regclass AS name FROM pg_dist_partition
        JOIN pg_dist_schema USING (colocationid) WHERE schemaid = schema_id LOOP
        EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE', it.name);
    END LOOP;
    SELECT relname INTO lacking FROM pg_class c JOIN pg_dist_partition ON logicalrelid = c.oid
        WHERE relnamespace = schema_id AND NOT EXISTS
            (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary);
    IF lacking IS NOT NULL THEN
        RAISE EXCEPTION 'cannot use logical replication to transfer shards of the relation % since it doesn''t have a REPLICA IDENTITY or PRIMARY KEY', lacking
            USING ERRCODE = 'feature_not_supported';
    END IF;
    PERFORM pg_sleep(coalesce(nullif(current_setting('stand_in.seconds', true), ''), '0')::float);
    UPDATE pg_dist_placement l SET groupid = d.groupid
    FROM pg_dist_node d, pg_dist_shard s, pg_dist_partition p, pg_dist_schema g
    WHERE d.nodename = target_node_name AND d.nodeport = target_node_port
        AND s.shardid = l.shardid AND p.logicalrelid = s.logicalrelid
        AND g.colocationid = p.colocationid AND g.schemaid = schema_id;
END $move$;

-- With citus.enable_schema_based_sharding, a new schema is placed on the next node, and its tables
-- with it.
CREATE FUNCTION stand_in.created() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $created$
DECLARE made record; colocation int; shard bigint;
BEGIN
    FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
        IF made.command_tag = 'CREATE SCHEMA'
            AND current_setting('citus.enable_schema_based_sharding', true) = 'on' THEN
            INSERT INTO pg_dist_schema VALUES (made.objid, nextval('stand_in.colocation'));
        ELSIF made.command_tag = 'CREATE TABLE' AND made.object_type = 'table' THEN
            SELECT colocationid INTO colocation FROM pg_dist_schema
                JOIN pg_class c ON c.relnamespace = schemaid WHERE c.oid = made.objid;
            CONTINUE WHEN colocation IS NULL OR made.object_identity ~ '^pg_temp';
            CONTINUE WHEN EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = made.objid);
            INSERT INTO pg_dist_partition VALUES (made.objid, 'n', colocation, 's');
            shard := nextval('stand_in.shard');
            INSERT INTO pg_dist_shard VALUES (made.objid, shard);
            -- Beside the other tables of the schema.
            INSERT INTO pg_dist_placement SELECT shard, coalesce((
                SELECT min(l.groupid) FROM pg_dist_placement l JOIN pg_dist_shard s USING (shardid)
                JOIN pg_dist_partition p USING (logicalrelid)
                WHERE p.colocationid = colocation), 1 + colocation % 2);
        END IF;
    END LOOP;
END $created$;
CREATE EVENT TRIGGER stand_in_created ON ddl_command_end EXECUTE FUNCTION stand_in.created();

CREATE FUNCTION stand_in.dropped() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $dropped$
BEGIN
    DELETE FROM pg_dist_schema WHERE schemaid IN (SELECT objid FROM pg_event_trigger_dropped_objects());
    DELETE FROM pg_dist_partition
        WHERE logicalrelid IN (SELECT objid FROM pg_event_trigger_dropped_objects());
    DELETE FROM pg_dist_placement WHERE shardid IN (SELECT shardid FROM pg_dist_shard
        WHERE logicalrelid IN (SELECT objid FROM pg_event_trigger_dropped_objects()));
    DELETE FROM pg_dist_shard
        WHERE logicalrelid IN (SELECT objid FROM pg_event_trigger_dropped_objects());
END $dropped$;
CREATE EVENT TRIGGER stand_in_dropped ON sql_drop EXECUTE FUNCTION stand_in.dropped();
