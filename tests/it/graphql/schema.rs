//! The schema as it is committed.

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/schema.graphql");

#[test]
fn the_committed_schema_is_the_one_that_is_served() {
    let sdl = grid::api::graphql::sdl();
    if std::env::var_os("GRID_BLESS").is_some() {
        std::fs::write(PATH, &sdl).unwrap();
    }
    let committed = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        committed == sdl,
        "schema/schema.graphql is stale: GRID_BLESS=1 cargo test --test it graphql::schema writes it anew"
    );
}
