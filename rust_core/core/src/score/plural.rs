//! Plurals by rule, for the last word of a phrase. Irregular ones are in `lexicon.txt`.

/// "wine glass" -> "wine glasses".
pub(super) fn plural_of(phrase: &str) -> String {
    let before_y = phrase.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u']));
    if let Some(stem) = before_y {
        format!("{stem}ies")
    } else if phrase.ends_with(['s', 'x', 'z']) || phrase.ends_with("ch") || phrase.ends_with("sh") {
        format!("{phrase}es")
    } else {
        format!("{phrase}s")
    }
}

/// "tall flowers" -> "tall flower"; `None` for what is no plural by its looks ("wine glass", "bus").
pub(super) fn singular_of(phrase: &str) -> Option<String> {
    if phrase.ends_with("ss") || phrase.ends_with("us") || phrase.ends_with("is") {
        return None;
    }
    let stem = phrase.strip_suffix('s').filter(|stem| stem.len() > 2)?;
    let candidates = [
        stem.strip_suffix("ie").map(|stem| format!("{stem}y")),
        stem.strip_suffix('e').map(str::to_owned),
        Some(stem.to_owned()),
    ];
    candidates.into_iter().flatten().find(|singular| plural_of(singular) == phrase)
}
