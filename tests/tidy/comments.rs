//! What comments must say and must not: every file opens with what it is, and no comment holds
//! work left to do or code that was switched off. History keeps old code, issues keep plans.

use syn::{Expr, Stmt};

use crate::source::{Finding, Source};

/// Written in two halves so that this file passes its own check.
const LEFT_TO_DO: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

pub(crate) fn missing_opening(source: &Source) -> Vec<Finding> {
    if source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![source.finding(1, "open the file with `//!`: what it is, why it is so, what is not here")]
}

pub(crate) fn left_to_do(source: &Source) -> Vec<Finding> {
    let is_marked = |text: &str| {
        text.split(|letter: char| !letter.is_alphanumeric()).any(|word| LEFT_TO_DO.contains(&word))
    };
    source
        .comments()
        .iter()
        .filter(|comment| is_marked(comment.text))
        .map(|comment| source.finding(comment.line, "do it, or open an issue and say why not here"))
        .collect()
}

pub(crate) fn commented_out_code(source: &Source) -> Vec<Finding> {
    source
        .comments()
        .iter()
        .filter_map(|comment| Some((comment.line, comment.text.strip_prefix("// ")?)))
        .filter(|(_, text)| is_code(text.trim()))
        .map(|(line, _)| source.finding(line, "delete code instead of commenting it out"))
        .collect()
}

/// Whether a comment line reads as Rust and not as prose that happens to parse, such as a single
/// word before a semicolon.
fn is_code(text: &str) -> bool {
    if text.ends_with('{') {
        return match statement(&format!("{text} }}")) {
            Some(Stmt::Item(_)) => true,
            Some(Stmt::Expr(expression, _)) => !matches!(
                expression,
                Expr::Struct(_) | Expr::Block(_) | Expr::Path(_) | Expr::Closure(_)
            ),
            _ => false,
        };
    }
    if !text.ends_with(';') {
        return false;
    }
    match statement(text) {
        Some(Stmt::Local(_) | Stmt::Item(_) | Stmt::Macro(_)) => true,
        Some(Stmt::Expr(expression, _)) => is_effect(&expression, text),
        None => false,
    }
}

/// Whether an expression does something when it is a statement. A call with a space in front of
/// its bracket is a remark in brackets.
fn is_effect(expression: &Expr, text: &str) -> bool {
    match expression {
        Expr::Call(_) | Expr::MethodCall(_) => !text.contains(" ("),
        Expr::Try(inner) => is_effect(&inner.expr, text),
        Expr::Await(_) | Expr::Assign(_) | Expr::Return(_) | Expr::Break(_) | Expr::Continue(_) => {
            true
        }
        Expr::Binary(binary) => matches!(
            binary.op,
            syn::BinOp::AddAssign(_) | syn::BinOp::SubAssign(_) | syn::BinOp::BitOrAssign(_)
        ),
        _ => false,
    }
}

fn statement(text: &str) -> Option<Stmt> {
    let block: syn::Block = syn::parse_str(&format!("{{ {text} }}")).ok()?;
    block.stmts.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("src/ws/a.rs", text)
    }

    #[test]
    fn the_opening_must_be_the_first_line() {
        assert_eq!(missing_opening(&source("//! What it is.")).len(), 0);
        for text in ["", "\n//! Late.", "use a;", "// Not documentation."] {
            assert_eq!(missing_opening(&source(text)).len(), 1, "{text}");
        }
    }

    #[test]
    fn marks_are_found_in_comments_only() {
        for mark in LEFT_TO_DO {
            assert_eq!(left_to_do(&source(&format!("f(); // {mark}: later"))).len(), 1);
            assert_eq!(left_to_do(&source(&format!("f(\"{mark}\");"))).len(), 0);
            assert_eq!(left_to_do(&source(&format!("// {mark}S"))).len(), 0);
        }
    }

    #[test]
    fn code_in_comments_is_found() {
        for code in [
            "let x = 1;",
            "self.cursor = start;",
            "count += 1;",
            "drop(x);",
            "wheel.cancel(id)?;",
            "use std::fs;",
            "println!(\"{x}\");",
            "if x == y {",
            "for id in 0..3 {",
            "fn old(x: u32) -> u32 {",
            "match frame.opcode {",
            "return Err(e);",
        ] {
            assert_eq!(commented_out_code(&source(&format!("// {code}"))).len(), 1, "{code}");
        }
    }

    #[test]
    fn prose_is_not_code() {
        for prose in [
            "done;",
            "Timers fire from level 0 only;",
            "the reader (see above);",
            "cascade (once per level);",
            "RFC 6455 §5.5;",
            "Head {",
            "a set such as {",
            "SAFETY: the row is ours;",
            "`a = b;`",
            "GET / HTTP/1.1",
            "x;",
            "a | b;",
        ] {
            assert_eq!(commented_out_code(&source(&format!("// {prose}"))).len(), 0, "{prose}");
        }
        let example = "/// let x = 1;\n//! let y = 2;\nfn f() { g(\"// let z = 3;\") }";
        assert_eq!(commented_out_code(&source(example)).len(), 0);
    }
}
