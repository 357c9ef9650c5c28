//! What a query's words say about the labels of a detector: which are wanted, which are not, how many, and
//! where one is from another.
//!
//! Not a parser of English, and cautious where the two differ: what it reads as a fact can only lower a
//! candidate that a detector contradicts, so it keeps to patterns with one sense. SCORE.md lists them.

use super::lexicon::{Form, Lexicon, Meaning, Number, Side};

/// Words between "no" and the label that it excludes, at most ("no big old dogs").
const NEGATION_REACH: usize = 3;
/// Adjectives between a numeral and its label, at most ("two big dogs").
const COUNT_REACH: usize = 2;
/// Words between a label and the relation after it, at most ("a cat is sitting to the left of").
const SUBJECT_REACH: usize = 4;
/// Words between a relation and the label after it, at most ("above a small round table").
const OBJECT_REACH: usize = 3;

/// What the words of one query say, in terms of label ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WordFacts {
    /// Wanted labels, distinct, in the order of their first mention.
    pub named: Vec<u16>,
    /// Labels wanted absent ("no people"), distinct. None of them is in `named`.
    pub ruled_out: Vec<u16>,
    /// Exact numbers ("two dogs").
    pub counts: Vec<CountFact>,
    /// Spatial relations ("a cat on top of a table").
    pub relations: Vec<RelationFact>,
}

/// "Two dogs".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountFact {
    /// The label that is counted.
    pub label: u16,
    /// 1..=12.
    pub count: u8,
}

/// "A cat left of a table".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelationFact {
    /// The label that is somewhere.
    pub subject: u16,
    /// Where it is.
    pub side: Side,
    /// The label that it is seen from; another one than `subject`.
    pub object: u16,
}

/// The words of a text in lower case, without punctuation.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    tokens(text).into_iter().filter_map(|token| match token {
        Token::Word(word) => Some(word),
        Token::Break => None,
    })
}

impl WordFacts {
    /// Reads a query text.
    pub(super) fn read(text: &str, lexicon: &Lexicon) -> WordFacts {
        let items = items(&tokens(text), lexicon);
        let excluded = Negation::read(&items, lexicon);
        let phrase = Phrase { items: &items, excluded: &excluded, lexicon };
        let ruled_out = distinct(phrase.labels().filter(|(at, _)| excluded[*at]).map(|(_, form)| form.label));
        let mut named = distinct(phrase.labels().filter(|(at, _)| !excluded[*at]).map(|(_, form)| form.label));
        named.retain(|label| !ruled_out.contains(label));
        WordFacts { counts: phrase.counts(), relations: phrase.relations(), named, ruled_out }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// Punctuation: no pattern reaches across it.
    Break,
}

/// Letters and digits make words, with apostrophes inside them; hyphens and underscores separate words.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for piece in text.to_lowercase().replace('\u{2019}', "'").replace('&', " and ").split_inclusive(|c| !in_word(c)) {
        let word = piece.trim_matches(|c: char| !c.is_alphanumeric());
        if !word.is_empty() {
            tokens.push(Token::Word(word.to_owned()));
        }
        if piece.ends_with(|c: char| !in_word(c) && !c.is_whitespace() && c != '-' && c != '_') {
            tokens.push(Token::Break);
        }
    }
    tokens
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '\''
}

/// A phrase that the lexicon knows, or a single word that it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Known(Meaning),
    Word(String),
    Break,
}

fn items(tokens: &[Token], lexicon: &Lexicon) -> Vec<Item> {
    let mut items = Vec::new();
    let mut rest = tokens;
    while let Some((first, after)) = rest.split_first() {
        let Token::Word(word) = first else {
            items.push(Item::Break);
            rest = after;
            continue;
        };
        match longest_match(rest, lexicon) {
            Some((meaning, length)) => {
                items.push(Item::Known(meaning));
                rest = &rest[length..];
            }
            None => {
                items.push(Item::Word(word.clone()));
                rest = after;
            }
        }
    }
    items
}

fn longest_match(tokens: &[Token], lexicon: &Lexicon) -> Option<(Meaning, usize)> {
    let mut phrase = String::new();
    let mut found = None;
    for (position, token) in tokens.iter().take(lexicon.longest_phrase()).enumerate() {
        let Token::Word(word) = token else { break };
        if position > 0 {
            phrase.push(' ');
        }
        phrase.push_str(word);
        let next = tokens.get(position + 1);
        found = lexicon
            .meaning(&phrase)
            .filter(|meaning| stands(*meaning, next, lexicon))
            .map_or(found, |meaning| Some((meaning, position + 1)));
    }
    found
}

/// An adjective names a label only at the end of its noun phrase: "an orange", not "an orange cat".
fn stands(meaning: Meaning, next: Option<&Token>, lexicon: &Lexicon) -> bool {
    match (meaning, next) {
        (Meaning::Label(Form { adjective: true, .. }), Some(Token::Word(next))) => lexicon.is_function_word(next),
        _ => true,
    }
}

/// Which items stand in the scope of a negation.
///
/// A scope opens at a negator and covers the next label. It goes on over "or" and "nor", over "and" if a label
/// follows at once ("no cats and dogs", but not "no cats and a dog"), and over a comma in a list that ends in
/// "or".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Negation {
    Closed,
    /// Waiting for the label, over so many more words.
    Open(usize),
    /// The label was there; a conjunction may add another.
    Covered,
    /// After "and": only a label right here is added.
    Joined,
}

impl Negation {
    fn read(items: &[Item], lexicon: &Lexicon) -> Vec<bool> {
        let mut scope = Negation::Closed;
        let mut excluded = vec![false; items.len()];
        for (at, item) in items.iter().enumerate() {
            excluded[at] = scope != Negation::Closed && matches!(item, Item::Known(Meaning::Label(_)));
            scope = scope.after(item, &items[at + 1..], lexicon);
        }
        excluded
    }

    fn after(self, item: &Item, rest: &[Item], lexicon: &Lexicon) -> Negation {
        match (self, item) {
            (_, Item::Known(Meaning::Negator)) => Negation::Open(NEGATION_REACH),
            (Negation::Closed, _) => Negation::Closed,
            (_, Item::Known(Meaning::Label(_) | Meaning::OtherThing)) => Negation::Covered,
            (Negation::Open(_), Item::Word(word)) if lexicon.is_determiner(word) => self,
            (Negation::Open(left), Item::Word(word)) if left > 0 && !lexicon.is_function_word(word) => {
                Negation::Open(left - 1)
            }
            (Negation::Covered, Item::Word(word)) if is_or(word) => Negation::Open(NEGATION_REACH),
            (Negation::Covered, Item::Word(word)) if word == "and" => Negation::Joined,
            (Negation::Covered, Item::Break) if list_ends_in_or(rest) => Negation::Joined,
            _ => Negation::Closed,
        }
    }
}

fn is_or(word: &str) -> bool {
    word == "or" || word == "nor"
}

/// "cars, bikes or buses": labels between commas, then "or".
fn list_ends_in_or(items: &[Item]) -> bool {
    match items {
        [Item::Known(Meaning::Label(_) | Meaning::OtherThing), rest @ ..] => match rest {
            [Item::Break, Item::Word(word), ..] | [Item::Word(word), ..] => is_or(word),
            [Item::Break, rest @ ..] => list_ends_in_or(rest),
            _ => false,
        },
        _ => false,
    }
}

/// A query as items, each with whether it is negated.
struct Phrase<'a> {
    items: &'a [Item],
    excluded: &'a [bool],
    lexicon: &'a Lexicon,
}

impl Phrase<'_> {
    fn label_at(&self, at: usize) -> Option<Form> {
        match self.items.get(at) {
            Some(Item::Known(Meaning::Label(form))) => Some(*form),
            _ => None,
        }
    }

    fn word_at(&self, at: usize) -> Option<&str> {
        match self.items.get(at) {
            Some(Item::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn labels(&self) -> impl Iterator<Item = (usize, Form)> {
        (0..self.items.len()).filter_map(|at| self.label_at(at).map(|form| (at, form)))
    }

    /// Counts of labels that the text mentions once: "a man and two women" says nothing exact about people.
    fn counts(&self) -> Vec<CountFact> {
        let mentions = |label| self.labels().filter(|(_, form)| form.label == label).count();
        let counted = self.labels().filter(|(at, form)| !self.excluded[*at] && mentions(form.label) == 1);
        counted.filter_map(|(at, form)| self.count_before(at, form)).collect()
    }

    /// The numeral of a label's noun phrase, if it agrees with the label's form: "two-person tent" counts nobody.
    fn count_before(&self, at: usize, form: Form) -> Option<CountFact> {
        let mut position = at;
        for _ in 0..=COUNT_REACH {
            position = position.checked_sub(1)?;
            let word = self.word_at(position)?;
            if let Some(count) = self.lexicon.numeral(word) {
                let agrees = match form.number {
                    Number::Singular => count == 1,
                    Number::Plural => count > 1,
                    Number::Either => true,
                };
                let exact = agrees && !self.is_hedged(position);
                return exact.then_some(CountFact { label: form.label, count });
            }
            if self.lexicon.is_function_word(word) {
                return None;
            }
        }
        None
    }

    /// "About two", "at least two", "one or two", "no more than two".
    fn is_hedged(&self, numeral: usize) -> bool {
        if numeral > 0 && self.items[numeral - 1] == Item::Known(Meaning::NotNegator) {
            return true;
        }
        let word_back = |back| numeral.checked_sub(back).and_then(|at| self.word_at(at));
        match (word_back(1), word_back(2)) {
            (Some("to" | "or" | "and"), Some(before)) => self.lexicon.numeral(before).is_some(),
            (Some(word), _) => self.lexicon.is_inexact(word),
            (None, _) => false,
        }
    }

    fn relations(&self) -> Vec<RelationFact> {
        let sides = self.items.iter().enumerate().filter_map(|(at, item)| match item {
            Item::Known(Meaning::Relation(side)) => Some((at, *side)),
            _ => None,
        });
        sides
            .filter_map(|(at, side)| {
                let (subject, object) = (self.subject_before(at)?, self.object_after(at)?);
                (subject != object).then_some(RelationFact { subject, side, object })
            })
            .collect()
    }

    fn subject_before(&self, relation: usize) -> Option<u16> {
        let words = (0..relation).rev().take_while(|at| self.word_at(*at).is_some()).count();
        let at = relation.checked_sub(words + 1).filter(|_| words <= SUBJECT_REACH)?;
        self.wanted_label(at)
    }

    fn object_after(&self, relation: usize) -> Option<u16> {
        let in_phrase = |at: &usize| {
            self.word_at(*at)
                .is_some_and(|word| self.lexicon.is_determiner(word) || !self.lexicon.is_function_word(word))
        };
        let words = (relation + 1..self.items.len()).take_while(in_phrase).count();
        let at = (words <= OBJECT_REACH).then_some(relation + 1 + words)?;
        self.wanted_label(at)
    }

    fn wanted_label(&self, at: usize) -> Option<u16> {
        self.label_at(at).filter(|_| !self.excluded[at]).map(|form| form.label)
    }
}

fn distinct(labels: impl Iterator<Item = u16>) -> Vec<u16> {
    let mut distinct = Vec::new();
    labels.for_each(|label| {
        if !distinct.contains(&label) {
            distinct.push(label);
        }
    });
    distinct
}

#[cfg(test)]
mod tests;
