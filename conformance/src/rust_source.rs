//! One Rust file, lexed: its functions and tables with their lengths, comments and strings.
//!
//! Lexing rather than parsing, so that the functions inside of `proptest!` and other macros are found too.

use std::collections::BTreeSet;
use std::ops::Range;

use proc_macro2::{Delimiter, Group, Spacing, Span, TokenStream, TokenTree};
use thiserror::Error;

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A function with an attribute whose path ends in `test`.
    Test,
    /// A test with `#[ignore]`: it shows nothing.
    IgnoredTest,
    /// Any other function with a body.
    Function,
    /// A `const` or `static`.
    Table,
}

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// Comments, doc comments included.
    Comment,
    /// A string literal.
    String,
}

/// A comment or string of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where the text stands.
    pub kind: NoteKind,
    /// The text as it is in the file, with its delimiters.
    pub text: String,
}

/// A function or table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its name.
    pub name: String,
    /// Whether it is test code: in a directory `tests`, in a `#[cfg(test)]` module, or inside of a test.
    pub in_test_code: bool,
    /// The first line: that of the keyword, after attributes and comments. Lines count from 1.
    pub first_line: usize,
    /// How many lines it takes from there.
    pub lines: usize,
    /// Whether nearly all of it is one `match` whose arms are short.
    pub is_flat_match: bool,
    /// Its strings and comments, with the comment directly above it.
    pub notes: Vec<Note>,
    /// The identifiers it uses.
    pub idents: BTreeSet<String>,
}

/// A file that is not Rust.
#[derive(Debug, Error)]
#[error("cannot be lexed: {0}")]
pub struct LexFailed(proc_macro2::LexError);

/// What was found in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RustSource {
    /// Functions and tables, outer ones after those inside of them.
    pub items: Vec<Item>,
    /// The length in lines of each `#[cfg(test)]` module with a body.
    pub test_modules: Vec<usize>,
}

impl RustSource {
    /// Lexes a file. `is_test_file` says that all of it is test code.
    ///
    /// # Errors
    ///
    /// The text is not a sequence of Rust tokens.
    pub fn lex(source: &str, is_test_file: bool) -> Result<Self, LexFailed> {
        let tokens: TokenStream = source.parse().map_err(LexFailed)?;
        let mut leaves = Vec::new();
        collect_leaves(tokens.clone(), &mut leaves);
        let mut walk = Walk { source, leaves, found: Self::default() };
        walk.level(tokens, is_test_file);
        Ok(walk.found)
    }
}

/// The byte ranges of all tokens in order; what lies between is space and comments.
fn collect_leaves(tokens: TokenStream, leaves: &mut Vec<Range<usize>>) {
    let mut push = |span: Span| {
        let range = span.byte_range();
        // A doc comment is lexed to five tokens that all claim its place.
        if leaves.last().is_none_or(|last| last.end <= range.start) {
            leaves.push(range);
        }
    };
    let mut groups = vec![tokens.into_iter()];
    let mut closes = Vec::new();
    while let Some(level) = groups.last_mut() {
        match level.next() {
            Some(TokenTree::Group(group)) => {
                if group.delimiter() != Delimiter::None {
                    push(group.span_open());
                }
                closes.push(group.span_close());
                groups.push(group.stream().into_iter());
            }
            Some(token) => push(token.span()),
            None => {
                groups.pop();
                closes.pop().into_iter().for_each(&mut push);
            }
        }
    }
}

struct Walk<'s> {
    source: &'s str,
    leaves: Vec<Range<usize>>,
    found: RustSource,
}

impl Walk<'_> {
    /// Finds the items of one nesting level and goes into its groups.
    fn level(&mut self, tokens: TokenStream, in_test_code: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        let mut begin = rest;
        let mut attributes = Vec::new();
        while let [first, after @ ..] = rest {
            let mut ended = true;
            rest = match (first, after) {
                (TokenTree::Punct(hash), [TokenTree::Group(attribute), after @ ..])
                    if hash.as_char() == '#' =>
                {
                    attributes.push(without_space(&attribute.stream()));
                    ended = false;
                    after
                }
                // An inner attribute belongs to what surrounds it.
                (TokenTree::Punct(hash), [TokenTree::Punct(bang), TokenTree::Group(_), after @ ..])
                    if hash.as_char() == '#' && bang.as_char() == '!' =>
                {
                    after
                }
                (TokenTree::Ident(keyword), _) if is_item(keyword.to_string().as_str(), after) => {
                    self.item(begin, rest, &attributes, in_test_code)
                }
                (TokenTree::Group(group), after) => {
                    self.level(group.stream(), in_test_code);
                    ended = group.delimiter() == Delimiter::Brace;
                    after
                }
                (first, after) => {
                    ended = is_punct(first, ';');
                    after
                }
            };
            if ended {
                begin = rest;
                attributes.clear();
            }
        }
    }

    /// Takes the item whose keyword is the first of `rest` and gives back what follows it.
    fn item<'t>(
        &mut self,
        begin: &[TokenTree],
        rest: &'t [TokenTree],
        attributes: &[String],
        in_test_code: bool,
    ) -> &'t [TokenTree] {
        let [keyword, name, ..] = rest else { return &[] };
        let is_table = !matches!(keyword.to_string().as_str(), "fn" | "mod");
        let is_end = |token: &TokenTree| {
            is_punct(token, ';')
                || matches!(token, TokenTree::Group(group) if !is_table && group.delimiter() == Delimiter::Brace)
        };
        let length = rest.iter().position(is_end).map_or(rest.len(), |at| at.saturating_add(1));
        let (tokens, after) = rest.split_at(length);
        let body =
            tokens.last().and_then(|last| if let TokenTree::Group(body) = last { Some(body) } else { None });
        if keyword.to_string() == "mod" {
            body.into_iter().for_each(|body| self.module(keyword, body, attributes, in_test_code));
            return after;
        }
        let kind = if is_table { ItemKind::Table } else { function_kind(attributes) };
        let in_test_code = in_test_code || matches!(kind, ItemKind::Test | ItemKind::IgnoredTest);
        for token in tokens {
            if let TokenTree::Group(group) = token {
                self.level(group.stream(), in_test_code);
            }
        }
        // A function without a body is a trait's declaration: nothing to measure, nothing to run.
        if is_table || body.is_some() {
            let lines = line_count(keyword.span(), tokens.last().unwrap_or(keyword).span());
            let first = begin.first().unwrap_or(keyword).span().byte_range();
            let last = tokens.last().unwrap_or(keyword).span().byte_range();
            self.found.items.push(Item {
                kind,
                name: name.to_string(),
                in_test_code,
                first_line: keyword.span().start().line,
                lines,
                is_flat_match: body.is_some_and(|body| is_flat_match(body, lines)),
                notes: self.notes(first.start..last.end),
                idents: idents(tokens),
            });
        }
        after
    }

    fn module(&mut self, keyword: &TokenTree, body: &Group, attributes: &[String], in_test_code: bool) {
        let is_test_module = attributes.iter().any(|attribute| attribute == "cfg(test)");
        if is_test_module {
            self.found.test_modules.push(line_count(keyword.span(), body.span_close()));
        }
        self.level(body.stream(), in_test_code || is_test_module);
    }

    /// The strings and comments within a range and the comment lines directly above it.
    fn notes(&self, range: Range<usize>) -> Vec<Note> {
        let comment = |text: &str| Note { kind: NoteKind::Comment, text: text.trim().to_owned() };
        let first = self.leaves.partition_point(|leaf| leaf.start < range.start);
        let end_before = first.checked_sub(1).and_then(|at| self.leaves.get(at)).map_or(0, |leaf| leaf.end);
        let above = self.source.get(end_before..range.start).unwrap_or_default();
        // What follows the previous token on its own line belongs to that token.
        let above =
            if end_before == 0 { above } else { above.split_once('\n').map_or("", |(_, below)| below) };
        let directly_above = above.rsplit("\n\n").next().unwrap_or_default();
        let mut notes = vec![comment(directly_above)];
        let mut end = range.start;
        for leaf in self.leaves.iter().skip(first).take_while(|leaf| leaf.start < range.end) {
            notes.push(comment(self.source.get(end..leaf.start).unwrap_or_default()));
            let token = self.source.get(leaf.clone()).unwrap_or_default();
            if token.starts_with("//") || token.starts_with("/*") {
                notes.push(comment(token));
            } else if token.starts_with(['"', 'r', 'b', 'c']) && token.ends_with(['"', '#']) {
                notes.push(Note { kind: NoteKind::String, text: token.to_owned() });
            }
            end = leaf.end;
        }
        notes.retain(|note| !note.text.is_empty());
        notes
    }
}

fn without_space(tokens: &TokenStream) -> String {
    tokens.to_string().split_whitespace().collect()
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

/// Whether a keyword begins an item: `fn name`, `mod name`, `const NAME:` or `static NAME:`.
fn is_item(keyword: &str, after: &[TokenTree]) -> bool {
    match (keyword, after) {
        ("fn" | "mod", [TokenTree::Ident(_), ..]) => true,
        ("const" | "static", [TokenTree::Ident(_), TokenTree::Punct(colon), ..]) => {
            colon.as_char() == ':' && colon.spacing() == Spacing::Alone
        }
        _ => false,
    }
}

fn function_kind(attributes: &[String]) -> ItemKind {
    let path = |attribute: &String| attribute.split(['(', '=']).next().unwrap_or_default().to_owned();
    let paths: Vec<String> = attributes.iter().map(path).collect();
    let is_test = paths.iter().any(|path| path == "test" || path.ends_with("::test"));
    match (is_test, paths.iter().any(|path| path == "ignore")) {
        (true, false) => ItemKind::Test,
        (true, true) => ItemKind::IgnoredTest,
        (false, _) => ItemKind::Function,
    }
}

fn line_count(first: Span, last: Span) -> usize {
    last.end().line.saturating_sub(first.start().line).saturating_add(1)
}

fn group_lines(group: &Group) -> usize {
    line_count(group.span_open(), group.span_close())
}

fn idents(tokens: &[TokenTree]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<TokenTree> = tokens.to_vec();
    while let Some(token) = open.pop() {
        match token {
            TokenTree::Ident(ident) => drop(found.insert(ident.to_string())),
            TokenTree::Group(group) => open.extend(group.stream()),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    found
}

/// At most ten lines of the function lie outside of its longest `match`, and no arm has a block above six lines.
fn is_flat_match(body: &Group, function_lines: usize) -> bool {
    let mut open = vec![body.clone()];
    while let Some(group) = open.pop() {
        let mut is_match = false;
        for token in group.stream() {
            match token {
                TokenTree::Ident(ident) if ident == "match" => is_match = true,
                TokenTree::Group(inner) if inner.delimiter() == Delimiter::Brace && is_match => {
                    is_match = false;
                    if function_lines.saturating_sub(group_lines(&inner)) <= 10 {
                        return inner.stream().into_iter().all(is_short);
                    }
                    open.push(inner);
                }
                TokenTree::Group(inner) => open.push(inner),
                _ => {}
            }
        }
    }
    false
}

fn is_short(token: TokenTree) -> bool {
    !matches!(token, TokenTree::Group(block) if group_lines(&block) > 6)
}
