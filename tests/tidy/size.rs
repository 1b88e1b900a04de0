//! Lengths of files, functions and lines: what fits a screen is read, what does not is skimmed.
//!
//! A file is counted without its unit tests, since tests should not be saved on. A function is
//! counted from `fn` to its closing brace, without documentation and attributes.

use syn::spanned::Spanned;
use syn::visit::Visit;

use crate::source::{Finding, Source};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_COLUMNS_MAX: usize = 100;

pub(crate) fn long_file(source: &Source) -> Vec<Finding> {
    if source.is_unit_test() {
        return Vec::new();
    }
    let lines = source.text.lines().count() - test_lines(&source.syntax().items);
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let what = format!("{lines} lines without tests, at most {FILE_LINES_MAX}: split the file");
    vec![source.finding(FILE_LINES_MAX + 1, what)]
}

pub(crate) fn long_functions(source: &Source) -> Vec<Finding> {
    let mut lengths = FunctionLengths { source, findings: Vec::new() };
    lengths.visit_file(&source.syntax());
    lengths.findings
}

pub(crate) fn long_lines(source: &Source) -> Vec<Finding> {
    let columns = |line: &str| line.chars().count();
    source
        .text
        .lines()
        .enumerate()
        .filter(|(_, line)| columns(line) > LINE_COLUMNS_MAX)
        .map(|(index, line)| {
            let what = format!("{} columns, at most {LINE_COLUMNS_MAX}", columns(line));
            source.finding(index + 1, what)
        })
        .collect()
}

/// Lines of the inline modules that only tests compile.
fn test_lines(items: &[syn::Item]) -> usize {
    let of_tests = |item: &syn::Item| match item {
        syn::Item::Mod(module) if module.content.is_some() => {
            module.attrs.iter().any(is_cfg_test).then(|| line_count(module.span()))
        }
        _ => None,
    };
    items.iter().filter_map(of_tests).sum()
}

fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
}

fn line_count(span: proc_macro2::Span) -> usize {
    span.end().line + 1 - span.start().line
}

struct FunctionLengths<'source> {
    source: &'source Source,
    findings: Vec<Finding>,
}

impl FunctionLengths<'_> {
    fn measure(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let start = signature.fn_token.span.start().line;
        let lines = body.span().end().line + 1 - start;
        if lines > FUNCTION_LINES_MAX {
            let what = format!(
                "{} has {lines} lines, at most {FUNCTION_LINES_MAX}: give a part of it a name",
                signature.ident
            );
            self.findings.push(self.source.finding(start, what));
        }
    }
}

impl<'tree> Visit<'tree> for FunctionLengths<'_> {
    fn visit_item_fn(&mut self, function: &'tree syn::ItemFn) {
        self.measure(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'tree syn::ImplItemFn) {
        self.measure(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'tree syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.measure(&function.sig, body);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let lines = |count: usize| "// A line.\n".repeat(count);
        let long = Source::new("src/ws/a.rs", &lines(501));
        assert_eq!(long_file(&long).len(), 1);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(600));
        let fine = Source::new("src/ws/a.rs", &(lines(500) + &tests));
        assert_eq!(long_file(&fine).len(), 0);
        assert_eq!(long_file(&Source::new("src/ws/a/tests.rs", &lines(501))).len(), 0);
    }

    #[test]
    fn a_long_function_is_found_anywhere() {
        let body = |lines: usize| format!("{{\n{}}}", "f();\n".repeat(lines - 2));
        for lines in [70, 71] {
            let body = body(lines);
            let text = format!(
                "/// Doc.\nfn a() {body}\nimpl T {{ fn b() {body} }}\ntrait U {{ fn c() {body} }}\n\
                 mod m {{ fn d() {{ fn e() {body} }} }}"
            );
            let found = long_functions(&Source::new("src/ws/a.rs", &text));
            // The function around `e` is as long as `e` itself.
            assert_eq!(found.len(), if lines > 70 { 5 } else { 0 });
        }
    }

    #[test]
    fn columns_are_characters() {
        let source =
            Source::new("src/a.rs", &format!("// {}\n// {}", "ä".repeat(97), "x".repeat(98)));
        let found = long_lines(&source);
        assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2]);
    }
}
