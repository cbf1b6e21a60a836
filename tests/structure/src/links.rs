//! Links in Markdown: which of them lead to files, and to which.

/// The targets of the relative links of a Markdown text, without their fragments. Code blocks hold none.
pub fn relative(markdown: &str) -> Vec<&str> {
    let mut in_code = false;
    let mut targets = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            targets.extend(
                line.split("](")
                    .skip(1)
                    .filter_map(|rest| rest.split_once(')'))
                    .map(|(target, _)| target),
            );
        }
    }
    targets.retain(|target| !target.contains("://") && !target.starts_with('#'));
    targets
        .into_iter()
        .map(|target| target.split_once('#').map_or(target, |(file, _)| file))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::relative;

    #[test]
    fn only_links_to_files_outside_code_count() {
        let text = "[a](b.md#c) and [d](../e), [f](https://g/h), [i](#j)\n```text\n[k](l)\n```\n[m](n.md)\n";
        assert_eq!(relative(text), ["b.md", "../e", "n.md"]);
    }
}
