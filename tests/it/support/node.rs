//! Tests that are written in JavaScript (tests/web), because browsers and the reference clients are at home there.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Runs one of the files of tests/web against this server; it finds the variables in its environment.
pub async fn node(url: &str, file: &str, variables: &[(&str, String)]) {
    let flags = ["--test", "--test-reporter=tap", "--test-timeout=280000"];
    run(url, &flags, file, &[], variables).await;
}

/// Runs tests of the web page against this server, side by side in one browser: `views` is tests/web/ui/views.test.mjs.
pub async fn pages(url: &str, files: &[&str], variables: &[(&str, String)]) {
    let variables = [&[chromium()][..], variables].concat();
    run(url, &[], "ui/run.mjs", files, &variables).await;
}

async fn run(url: &str, flags: &[&str], file: &str, arguments: &[&str], variables: &[(&str, String)]) {
    let root = env!("CARGO_MANIFEST_DIR");
    let modules = tokio::process::Command::new(format!("{root}/scripts/web-modules.sh"))
        .output()
        .await
        .unwrap();
    assert!(modules.status.success(), "{}", String::from_utf8_lossy(&modules.stderr));
    let modules = String::from_utf8(modules.stdout).unwrap().trim().to_owned();
    let own = format!("{modules}/bin/node");
    let node = if Path::new(&own).exists() { &own } else { "node" };
    let node = tokio::process::Command::new(node)
        .args(flags)
        .arg(format!("{root}/tests/web/{file}"))
        .args(arguments)
        .env("GRID_URL", url)
        .env("GRID_WEB_MODULES", &modules)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(Duration::from_secs(300), node).await;
    let ran = ran.expect("not within five minutes").unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    println!("{said}");
}

/// Where the browser is, as a variable of these tests.
pub fn chromium() -> (&'static str, String) {
    let path = std::env::var_os("PATH").unwrap();
    let browser = std::env::split_paths(&path)
        .map(|folder| folder.join("chromium"))
        .find(|file| file.exists())
        .expect("Chromium, which scripts/setup.sh gets");
    ("GRID_CHROMIUM", browser.to_str().unwrap().to_owned())
}
