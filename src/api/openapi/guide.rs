//! Pages of docs/, for whoever comes from an alert: as they are written, with places to jump to.

/// Name, as its path ends, and text.
const GUIDES: [(&str, &str); 4] = [
    ("failed-at-night", include_str!("../../../docs/failed-at-night.md")),
    ("metrics", include_str!("../../../docs/metrics.md")),
    ("pipelines", include_str!("../../../docs/pipelines.md")),
    ("runbook", include_str!("../../../docs/runbook.md")),
];

/// What it may load: nothing but its own style.
pub const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                          frame-ancestors 'none'";

/// The page as HTML.
pub fn page(name: &str) -> Option<String> {
    let (_, text) = GUIDES.iter().find(|(guide, _)| *guide == name)?;
    let lines: String = text.lines().map(line).collect();
    Some(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Grid: {name}</title>\n\
         </head>\n<body>\n<pre style=\"white-space: pre-wrap; max-width: 120ch\">\n{lines}</pre>\n</body>\n</html>\n"
    ))
}

/// Headings can be jumped to; links to other pages can be followed.
fn line(line: &str) -> String {
    let escaped = line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let heading = line.trim_start_matches('#');
    if heading.len() < line.len() && heading.starts_with(' ') {
        return format!("<b id=\"{}\">{escaped}</b>\n", anchor(heading));
    }
    let linked = GUIDES.iter().fold(escaped, |text, (name, _)| {
        text.replace(
            &format!("]({name}.md)"),
            &format!("](<a href=\"/api/docs/{name}\">{name}.md</a>)"),
        )
    });
    format!("{linked}\n")
}

/// As other readers of Markdown name a heading.
fn anchor(heading: &str) -> String {
    let kept = heading
        .trim()
        .chars()
        .filter(|char| char.is_alphanumeric() || *char == ' ' || *char == '-');
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_and_other_pages_are_reached() {
        assert_eq!(line("## 4. Only here?"), "<b id=\"4-only-here\">## 4. Only here?</b>\n");
        assert_eq!(line("#!/bin/sh"), "#!/bin/sh\n");
        assert_eq!(line("a < b & c"), "a &lt; b &amp; c\n");
        let linked = "see [runbook](<a href=\"/api/docs/runbook\">runbook.md</a>).\n";
        assert_eq!(line("see [runbook](runbook.md)."), linked);
        assert!(page("nothing").is_none());
    }
}
