//! The effect of function calls on the session, by the names before parentheses.

use std::{collections::HashMap, sync::LazyLock};

use super::{
    Analysis, Effect, SessionUse,
    effect::{LONGEST, lowered},
};

/// A name before a parenthesis.
pub(super) enum Name<'a> {
    /// A keyword, a function or a type.
    Bare(&'a [u8]),
    /// A function of `pg_catalog`, without quotes.
    Function(&'a [u8]),
    /// A name in quotes.
    Quoted(&'a [u8]),
}

/// The effect of a call. Names without a schema are those of PostgreSQL and of extensions, since the
/// `search_path` of a connection contains nothing else. An unknown function may do anything.
pub(super) fn effect(name: &Name<'_>) -> Analysis {
    let mut lower = [0; LONGEST];
    let (known, name) = match name {
        Name::Bare(name) => (&ALL, lowered(name, &mut lower)),
        Name::Function(name) => (&FUNCTIONS, lowered(name, &mut lower)),
        Name::Quoted(name) => (&FUNCTIONS, name.get(1..name.len() - 1).unwrap_or_default()),
    };
    known.get(name).copied().unwrap_or(Analysis { effect: Effect::Replace, session: None })
}

type Known = LazyLock<HashMap<&'static [u8], Analysis>>;

static ALL: Known = LazyLock::new(|| all(NO_CALL, Effect::None).chain(functions()).collect());

static FUNCTIONS: Known = LazyLock::new(|| functions().collect());

fn functions() -> impl Iterator<Item = (&'static [u8], Analysis)> {
    let harmless = all(HARMLESS, Effect::None).chain(all(EXTENSIONS, Effect::None));
    let locks = all(LOCKS, Effect::Reset)
        .map(|(name, it)| (name, Analysis { session: Some(SessionUse::Lock), ..it }));
    harmless.chain(all(NEXT, Effect::Local)).chain(all(RESETTABLE, Effect::Reset)).chain(locks)
}

fn all(names: &'static str, effect: Effect) -> impl Iterator<Item = (&'static [u8], Analysis)> {
    let analysis = Analysis { effect, session: None };
    names.split_whitespace().map(move |name| (name.as_bytes(), analysis))
}

/// Keywords of the grammar and types with modifiers, as they stand before a parenthesis.
const NO_CALL: &str = "
    all also always and any array as asc between bit by cascade case cast char character check coalesce
    collate columns conflict constraint cross cube current_time current_timestamp date dec decimal default deferrable delete desc
    distinct do else end enum escape except exclude exists explain extract fetch filter
    first float following for from full generated group groups halfvec hash having identity ilike
    in include index inner insert instead interpolate intersect interval into is isnull join json_array
    json_object json_scalar json_serialize json_table key last lateral left like limit list localtime localtimestamp
    materialized merge_action national natural nchar next not notnull null nulls numeric of offset on only
    options or order outer over overlaps overlay overriding partition position preceding precision
    primary range recursive references reset restrict returning right rollup row rows select set
    sets similar simple some sparsevec stored substring symmetric system table tablesample then
    ties time timestamp timestamptz timetz to treat trim unbounded union unique unknown update
    using values varbit varchar varying vector when where window with within without xmlagg
    xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlparse xmlpi xmlroot xmlserialize
    xmltable zone";

/// Functions of PostgreSQL that do not change the session. None is volatile, except for a few that
/// are listed in the tests.
const HARMLESS: &str = "
    abs acos acosd acosh age any_value array_agg array_append array_cat array_dims array_fill
    array_length array_lower array_ndims array_position array_positions array_prepend array_remove
    array_replace array_reverse array_sample array_shuffle array_sort array_to_json array_to_string
    array_to_tsvector array_upper ascii asin asind asinh atan atan2 atan2d atand atanh avg bernoulli
    bit_and bit_count bit_length bit_or bit_xor bool_and bool_or broadcast btrim cardinality
    casefold cbrt ceil ceiling char_length character_length chr clock_timestamp col_description
    concat concat_ws convert convert_from convert_to corr cos cosd cosh cot cotd count covar_pop
    covar_samp crc32 crc32c cume_dist current_catalog current_database current_query current_schema
    current_schemas current_setting current_user date_add date_bin date_part date_subtract
    date_trunc decode degrees dense_rank div encode enum_first enum_last enum_range erf erfc every
    exp extract factorial family first_value float4 float8 floor format format_type gamma gcd
    gen_random_uuid generate_series generate_subscripts get_bit get_byte get_current_ts_config
    greatest grouping has_any_column_privilege has_column_privilege has_database_privilege
    has_function_privilege has_parameter_privilege has_schema_privilege has_sequence_privilege
    has_table_privilege has_type_privilege host hostmask inet_client_addr inet_merge
    inet_same_family inet_server_addr inet_server_port initcap int2 int4 int4multirange int4range
    int8 int8multirange int8range isempty isfinite json_agg json_array_elements
    json_array_elements_text json_array_length json_arrayagg json_build_array json_build_object
    json_each json_each_text json_exists json_extract_path json_extract_path_text json_object
    json_object_agg json_object_keys json_objectagg json_populate_record json_populate_recordset
    json_query json_strip_nulls json_to_record json_to_recordset json_typeof json_value jsonb_agg
    jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array
    jsonb_build_object jsonb_concat jsonb_contains jsonb_delete jsonb_delete_path jsonb_each
    jsonb_each_text jsonb_exists jsonb_exists_all jsonb_exists_any jsonb_extract_path
    jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_agg jsonb_object_keys
    jsonb_path_exists jsonb_path_exists_tz jsonb_path_match jsonb_path_match_tz jsonb_path_query
    jsonb_path_query_array jsonb_path_query_array_tz jsonb_path_query_first
    jsonb_path_query_first_tz jsonb_path_query_tz jsonb_populate_record jsonb_populate_record_valid
    jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls jsonb_to_record
    jsonb_to_recordset jsonb_to_tsvector jsonb_typeof justify_days justify_hours justify_interval
    lag last_value lcm lead least left length lgamma ln log log10 lower lower_inc lower_inf lpad
    ltrim make_date make_interval make_time make_timestamp make_timestamptz masklen max md5 min mod
    mode multirange netmask network normalize now nth_value ntile nullif num_nonnulls num_nulls
    nummultirange numnode numrange obj_description octet_length overlay parse_ident percent_rank
    percentile_cont percentile_disc pg_advisory_xact_lock pg_advisory_xact_lock_shared
    pg_backend_pid pg_basetype pg_blocking_pids pg_cancel_backend pg_client_encoding
    pg_collation_for pg_column_size pg_current_snapshot pg_current_xact_id
    pg_current_xact_id_if_assigned pg_database_size pg_get_acl pg_get_constraintdef pg_get_expr
    pg_get_functiondef pg_get_indexdef pg_get_serial_sequence pg_get_userbyid pg_get_viewdef
    pg_has_role pg_indexes_size pg_input_error_info pg_input_is_valid pg_is_in_recovery
    pg_listening_channels pg_my_temp_schema pg_notify pg_postmaster_start_time pg_relation_size
    pg_size_bytes pg_size_pretty pg_sleep pg_sleep_for pg_sleep_until pg_table_is_visible
    pg_table_size pg_terminate_backend pg_total_relation_size pg_trigger_depth
    pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared pg_typeof pg_visible_in_snapshot
    phraseto_tsquery pi plainto_tsquery point position pow power querytree quote_ident quote_literal
    quote_nullable radians random random_normal range_agg range_intersect_agg range_merge rank
    regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace
    regexp_split_to_array regexp_split_to_table regexp_substr regr_avgx regr_avgy regr_count
    regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy repeat replace reverse right round
    row_number row_to_json rpad rtrim scale session_user set_bit set_byte set_masklen setweight
    sha224 sha256 sha384 sha512 shobj_description sign sin sind sinh split_part sqrt starts_with
    statement_timestamp stddev stddev_pop stddev_samp string_agg string_to_array string_to_table
    strip strpos substr substring sum tan tand tanh text timezone to_ascii to_bin to_char to_date
    to_hex to_json to_jsonb to_number to_oct to_regclass to_regnamespace to_regproc to_regrole
    to_regtype to_regtypemod to_timestamp to_tsquery to_tsvector transaction_timestamp translate
    trim_array trim_scale trunc ts_debug ts_delete ts_filter ts_headline ts_lexize ts_parse ts_rank
    ts_rank_cd ts_token_type tsmultirange tsrange tstzmultirange tstzrange tsvector_to_array
    txid_current txid_current_if_assigned txid_current_snapshot txid_status unaccent
    unicode_assigned unicode_version unistr unnest upper upper_inc upper_inf uuid_extract_timestamp
    uuid_extract_version uuidv4 uuidv7 var_pop var_samp variance version websearch_to_tsquery
    width_bucket xmlcomment xmltext xpath xpath_exists";

/// Functions of common extensions that do not change the session: citext, pg_trgm, uuid-ossp,
/// hstore, pgcrypto, fuzzystrmatch, ltree, intarray, earthdistance, vector. Without the extension
/// the names do not exist.
const EXTENSIONS: &str = "
    akeys armor avals binary_quantize citext cosine_distance crypt cube_distance daitch_mokotoff
    dearmor decrypt decrypt_iv defined difference digest dmetaphone dmetaphone_alt each earth
    earth_box earth_distance encrypt encrypt_iv exist fetchval gen_random_bytes gen_salt
    hamming_distance hmac hstore hstore_to_array hstore_to_json hstore_to_json_loose
    hstore_to_jsonb hstore_to_jsonb_loose hstore_to_matrix icount idx inner_product
    jaccard_distance l1_distance l2_distance l2_norm l2_normalize latitude lca levenshtein
    levenshtein_less_equal ll_to_earth longitude ltree2text metaphone nlevel pgp_pub_decrypt
    pgp_pub_decrypt_bytea pgp_pub_encrypt pgp_pub_encrypt_bytea pgp_sym_decrypt
    pgp_sym_decrypt_bytea pgp_sym_encrypt pgp_sym_encrypt_bytea populate_record show_limit
    show_trgm similarity skeys slice slice_array sort sort_asc sort_desc soundex
    strict_word_similarity subarray subltree subpath subvector svals text2ltree text_soundex uniq
    uuid_generate_v1 uuid_generate_v1mc uuid_generate_v3 uuid_generate_v4 uuid_generate_v5 uuid_nil
    uuid_ns_dns uuid_ns_oid uuid_ns_url uuid_ns_x500 vector vector_dims vector_norm
    word_similarity";

/// Functions that leave a number in the session, which `currval` and `lastval` return.
const NEXT: &str = "nextval setval";

/// Functions whose effects a reset undoes, and those that read what the session has kept.
/// (`set_limit` belongs to pg_trgm.)
const RESETTABLE: &str = "currval lastval set_config set_limit";

/// Session locks.
const LOCKS: &str = "
    pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all
    pg_advisory_unlock_shared pg_try_advisory_lock pg_try_advisory_lock_shared";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_short_enough_to_be_found() {
        let functions: Vec<_> = [HARMLESS, EXTENSIONS, NEXT, RESETTABLE, LOCKS]
            .join(" ")
            .split_whitespace()
            .map(str::len)
            .collect();
        assert_eq!(functions.len(), FUNCTIONS.len());
        assert!(NO_CALL.split_whitespace().map(str::len).chain(functions).all(|it| it <= LONGEST));
    }
}
