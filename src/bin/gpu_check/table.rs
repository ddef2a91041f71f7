//! Tables in Markdown.

/// Returns a table with these column heads and rows.
pub fn markdown(heads: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(heads.to_vec()) + &line(vec!["---"; heads.len()]);
    for row in rows {
        text += &line(row.iter().map(String::as_str).collect());
    }
    text
}
