//! Reads Rust text just far enough: what is code, which paths it names, how long functions are.

/// Returns `source` with comments, strings and characters blanked; lines stay where they are.
pub fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = at + literal_length(&chars[at..], at.checked_sub(1).map(|i| chars[i]));
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Length of the comment or literal that begins here, 0 if none does.
fn literal_length(text: &[char], before: Option<char>) -> usize {
    let next = |i: usize| text.get(i).copied().unwrap_or('\0');
    let in_word = before.is_some_and(is_word);
    match (text[0], next(1)) {
        ('/', '/') => text.iter().take_while(|&&c| c != '\n').count(),
        ('/', '*') => block_comment_length(text),
        ('"', _) => quoted_length(text, '"'),
        ('r', '"' | '#') if !in_word => raw_length(text),
        // A character, unless it is a lifetime.
        ('\'', '\\') => quoted_length(text, '\''),
        ('\'', _) if next(2) == '\'' => 3,
        _ => 0,
    }
}

fn block_comment_length(text: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn quoted_length(text: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != quote {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

fn raw_length(text: &[char]) -> usize {
    let hashes = text[1..].iter().take_while(|&&c| c == '#').count();
    if text.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let closing: Vec<char> = std::iter::once('"').chain(vec!['#'; hashes]).collect();
    let body = 2 + hashes;
    let end = text[body..].windows(closing.len()).position(|w| w == closing);
    end.map_or(text.len(), |end| body + end + closing.len())
}

/// Returns `code` with every item under `#[cfg(test)]` blanked.
pub fn without_tests(code: &str) -> String {
    let mut rest = code;
    let mut kept = String::with_capacity(code.len());
    while let Some(start) = rest.find("#[cfg(test)]") {
        let item = &rest[start..];
        let length = item_length(item);
        kept.push_str(&rest[..start]);
        kept.extend(item[..length].chars().filter(|&c| c == '\n'));
        rest = &item[length..];
    }
    kept + rest
}

/// Length of an item up to its semicolon or closing brace.
fn item_length(item: &str) -> usize {
    let end = item.find([';', '{']).unwrap_or(item.len());
    if item[end..].starts_with('{') {
        end + block_length(&item[end..])
    } else {
        item.len().min(end + 1)
    }
}

/// Length of the block that begins with the brace at the start.
fn block_length(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// Returns every path of two or more names in `code`, groups written out: `a::{b, c::d}` is
/// `[a, b]` and `[a, c, d]`.
pub fn paths(code: &str) -> Vec<Vec<String>> {
    let chars: Vec<char> = code.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let starts = is_word(chars[at]) && (at == 0 || !is_word(chars[at - 1]));
        at = if starts { path_tree(&chars, at, &[], &mut found) } else { at + 1 };
    }
    found.retain(|path| path.len() > 1);
    found
}

/// Reads one path with its groups from `at` on, adds what it names, returns where it ends.
fn path_tree(
    chars: &[char],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<Vec<String>>,
) -> usize {
    let mut path = prefix.to_vec();
    loop {
        at = skip_space(chars, at);
        if chars.get(at) == Some(&'{') && !path.is_empty() {
            return path_group(chars, at + 1, &path, found);
        }
        let length = chars[at..].iter().take_while(|&&c| is_word(c) || c == '*').count();
        path.push(chars[at..at + length].iter().collect());
        at += length.max(1).min(chars.len() - at);
        let after = skip_space(chars, at);
        let follows = |i: usize| chars.get(i).is_some_and(|&c| is_word(c) || "{*".contains(c));
        let goes_on = chars[after.min(chars.len())..].starts_with(&[':', ':'])
            && follows(skip_space(chars, after + 2));
        if !goes_on {
            found.push(path);
            return at;
        }
        at = after + 2;
    }
}

fn path_group(
    chars: &[char],
    mut at: usize,
    path: &[String],
    found: &mut Vec<Vec<String>>,
) -> usize {
    while at < chars.len() && chars[at] != '}' {
        let is_name = is_word(chars[at]) || chars[at] == '*';
        at = if is_name { path_tree(chars, at, path, found) } else { at + 1 };
        // `name as other` names only `name`.
        let alias = skip_space(chars, at);
        if is_name && chars[alias.min(chars.len())..].starts_with(&['a', 's', ' ']) {
            at = alias + chars[alias..].iter().take_while(|c| !",}".contains(**c)).count();
        }
    }
    (at + 1).min(chars.len())
}

fn skip_space(chars: &[char], at: usize) -> usize {
    at + chars[at.min(chars.len())..].iter().take_while(|c| c.is_whitespace()).count()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the name of every function with a body, and how many lines are between its braces.
pub fn function_lengths(code: &str) -> Vec<(String, usize)> {
    let starts = code.match_indices("fn ").filter(|(at, _)| !code[..*at].ends_with(is_word));
    starts
        .filter_map(|(at, _)| {
            let rest = &code[at + 3..];
            let name: String = rest.chars().take_while(|&c| is_word(c)).collect();
            let body = body_start(rest).filter(|_| !name.is_empty())?;
            let block = &rest[body..body + block_length(&rest[body..])];
            Some((name, block.lines().count().saturating_sub(2).max(1)))
        })
        .collect()
}

/// Where the body of a function begins, or `None` where it has none.
fn body_start(signature: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in signature.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(at),
            ';' if depth == 0 => return None,
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    None
}
