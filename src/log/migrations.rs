//! The migrations of the database, and which of them may be applied while older programs still run.
//!
//! Must stay true: expand first, contract later. A migration may add what older programs do not look at. What takes
//! something away, or wants more than they give, is a file `NNNN_contract_F_….sql`: it is applied once format F of the log
//! is active, so when no program that does not know F can work on the log any more; and programs that know F need neither
//! what it takes away nor that it has been applied.

use sqlx::migrate::{Migration, Migrator};

use super::Format;

static ALL: Migrator = sqlx::migrate!("./migrations");

/// The format that a contracting migration waits for.
fn waits_for(migration: &Migration) -> Option<Format> {
    let words = migration.description.strip_prefix("contract ")?;
    words.split(' ').next()?.parse().ok().map(Format)
}

/// Those that may be applied while `active` is. What newer programs have applied is left alone.
pub(super) fn allowed(active: Format) -> Migrator {
    let mut migrator = Migrator::with_migrations(of(ALL.iter(), active));
    migrator.set_ignore_missing(true);
    migrator
}

fn of<'a>(all: impl Iterator<Item = &'a Migration>, active: Format) -> Vec<Migration> {
    let may = |migration: &&Migration| waits_for(migration).is_none_or(|format| format <= active);
    all.filter(may).cloned().collect()
}

/// The first of those without which this program does not work that is not `applied`.
pub(super) fn missing(applied: &[i64]) -> Option<i64> {
    let mut needed = ALL.iter().filter(|migration| waits_for(migration).is_none());
    let lacking = needed.find(|migration| !applied.contains(&migration.version));
    lacking.map(|migration| migration.version)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use regex::Regex;
    use sqlx::SqlSafeStr;
    use sqlx::migrate::MigrationType;

    use super::*;

    /// What an older program may not stand, each with the words that it begins with.
    const CONTRACTING: [(&str, &str); 10] = [
        ("takes something away", r"^(DROP|TRUNCATE|DELETE)\b"),
        ("takes something away", r"^ALTER\b.*\bDROP\b"),
        ("takes something away", r"^EXECUTE\b.*\b(DROP|RENAME|SET NOT NULL)\b"),
        ("takes rights away", r"^REVOKE\b.*\bFROM (.*, ?)?grid\b"),
        ("gives another name", r"^ALTER\b.*\bRENAME\b"),
        ("moves something", r"^ALTER\b.*\bSET SCHEMA\b"),
        ("changes a type", r"^ALTER TABLE\b.*\bTYPE\b"),
        (
            "wants more than older programs give",
            r"^ALTER TABLE\b.*\bSET NOT NULL\b",
        ),
        (
            "wants more than older programs give",
            r"^ALTER TABLE\b.*\bADD (COLUMN [^,]*\bNOT NULL\b|CONSTRAINT\b|CHECK\b|UNIQUE\b|PRIMARY\b|FOREIGN\b)",
        ),
        ("wants more than older programs give", r"^CREATE UNIQUE INDEX\b"),
    ];

    /// What is there already and may stay, and why.
    const FIT: [(i64, &str, &str); 4] = [
        (
            1,
            "ALTER TABLE events ADD CONSTRAINT",
            "of a table that the same file makes",
        ),
        (101, "DROP INDEX jobs_newest", "others take the place of this index"),
        (
            102,
            "ALTER FUNCTION grid_create_read_models",
            "before the first release",
        ),
        (104, "", "before the first release"),
    ];

    /// The statements that a file carries out, in one line each: comments and the bodies of functions left out, but for
    /// those that it calls itself.
    fn statements(sql: &str) -> Vec<String> {
        let regex = |pattern: &str| Regex::new(pattern).unwrap();
        let sql = regex(r"(?m)--.*$").replace_all(sql, "");
        let called = |before: &str| {
            let begin = before.rfind("CREATE").unwrap_or(0);
            let name = regex(r"^CREATE (OR REPLACE )?FUNCTION ([a-z0-9_.]+)\(").captures(&before[begin..]);
            name.is_none_or(|name| sql.contains(&format!("SELECT {}(", &name[2])))
        };
        let (quote, steps) = (regex(r"\$[a-z]*\$"), regex(r"\b(BEGIN|THEN|ELSE|LOOP)\b"));
        let (mut flat, mut rest) = (String::new(), &*sql);
        while let Some(begin) = quote.find(rest) {
            let (before, inside) = (&rest[..begin.start()], &rest[begin.end()..]);
            let end = inside.find(begin.as_str()).expect("a body that ends");
            flat.push_str(before);
            if called(before) {
                flat.push_str(&steps.replace_all(&inside[..end], ";"));
            }
            rest = &inside[end + begin.len()..];
        }
        flat.push_str(rest);
        let spaces = regex(r"\s+");
        let lines = flat
            .split(';')
            .map(|it| spaces.replace_all(it.trim(), " ").into_owned());
        lines.filter(|it| !it.is_empty()).collect()
    }

    /// Why an older program might not stand the statement.
    fn contracts(statement: &str) -> Option<&'static str> {
        let without_defaults = Regex::new(r"ADD COLUMN [^,]*\bDEFAULT\b[^,]*").unwrap();
        let bare = without_defaults.replace_all(statement, "ADD COLUMN");
        let hit = |(_, pattern): &&(&str, &str)| Regex::new(&format!("(?i){pattern}")).unwrap().is_match(&bare);
        CONTRACTING.iter().find(hit).map(|(why, _)| *why)
    }

    #[test]
    fn a_migration_only_adds_unless_it_is_called_a_contracting_one() {
        let mut used = vec![false; FIT.len()];
        for migration in ALL.iter() {
            let version = migration.version;
            if migration.description.starts_with("contract") {
                let format = waits_for(migration).unwrap_or_else(|| {
                    panic!("{version}: a contracting migration is called NNNN_contract_FORMAT_what.sql")
                });
                assert!(
                    format > Format::FIRST && format <= Format::known(),
                    "{version}: there is no format {format}"
                );
                continue;
            }
            for statement in statements(migration.sql.as_str()) {
                let Some(why) = contracts(&statement) else { continue };
                let fit = |(of, begins, _): &(i64, &str, &str)| *of == version && statement.starts_with(begins);
                let fit = FIT.iter().position(fit);
                let place =
                    fit.unwrap_or_else(|| panic!("migration {version} {why}: {statement}; see CONTRIBUTING.md"));
                used[place] = true;
            }
        }
        let idle: Vec<_> = FIT.iter().zip(used).filter(|(_, used)| !used).collect();
        assert!(idle.is_empty(), "nobody needs these exceptions: {idle:?}");
    }

    #[test]
    fn what_takes_away_is_told_from_what_adds() {
        for adds in [
            "CREATE TABLE a (b int NOT NULL)",
            "ALTER TABLE a ADD COLUMN b int",
            "ALTER TABLE a ADD COLUMN b int NOT NULL DEFAULT 0, ADD COLUMN c text NOT NULL DEFAULT ''",
            "CREATE INDEX a_b ON a (b)",
            "REVOKE ALL ON FUNCTION a(text) FROM PUBLIC",
            "GRANT SELECT, DELETE ON a TO grid",
            "CREATE OR REPLACE FUNCTION a() RETURNS void LANGUAGE sql AS ''",
        ] {
            assert_eq!(contracts(adds), None, "{adds}");
        }
        for contracting in [
            "DROP TABLE a",
            "TRUNCATE a",
            "ALTER TABLE a DROP COLUMN b",
            "ALTER TABLE a RENAME TO b",
            "ALTER TABLE a RENAME COLUMN b TO c",
            "ALTER TABLE a ALTER COLUMN b TYPE bigint",
            "ALTER TABLE a ALTER b SET NOT NULL",
            "ALTER TABLE a ADD COLUMN b int NOT NULL",
            "ALTER TABLE a ADD COLUMN b int NOT NULL DEFAULT 0, ADD COLUMN c int NOT NULL",
            "ALTER TABLE a ADD CONSTRAINT b CHECK (c > 0)",
            "CREATE UNIQUE INDEX a_b ON a (b)",
            "REVOKE SELECT ON a FROM grid",
            "ALTER FUNCTION a() RENAME TO b",
        ] {
            assert!(contracts(contracting).is_some(), "{contracting}");
        }
        let sql = "CREATE FUNCTION a() RETURNS void AS $$ BEGIN DROP TABLE b; END $$; -- DROP TABLE c;
                   DO $$ BEGIN IF true THEN DROP TABLE d; END IF; END $$;
                   CREATE FUNCTION e() RETURNS void AS $x$ BEGIN DROP TABLE f; END $x$;
                   SELECT e();";
        let mut found = statements(sql);
        found.retain(|statement| contracts(statement).is_some());
        assert_eq!(found, ["DROP TABLE d", "DROP TABLE f"]);
    }

    #[test]
    fn a_contracting_migration_waits_for_its_format() {
        let named = |description: &'static str| {
            let nothing = "SELECT 1".into_sql_str();
            Migration::new(200, Cow::Borrowed(description), MigrationType::Simple, nothing, false)
        };
        assert_eq!(
            waits_for(&named("contract 3 take away the old column")),
            Some(Format(3))
        );
        assert_eq!(waits_for(&named("add contracts")), None);
        let both = [named("add a column"), named("contract 3 take away the old column")];
        assert_eq!(of(both.iter(), Format(2)).len(), 1);
        assert_eq!(of(both.iter(), Format(3)).len(), 2);
        let whole = ALL.iter().count();
        assert_eq!(allowed(Format::known()).iter().count(), whole);
        assert_eq!(missing(&ALL.iter().map(|it| it.version).collect::<Vec<_>>()), None);
        assert_eq!(missing(&[]), ALL.iter().next().map(|it| it.version));
    }
}
