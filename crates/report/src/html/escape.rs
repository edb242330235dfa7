//! What comes from outside (names, workers, errors, hashes), written so that it can only be text.

use std::fmt::{Display, Formatter, Result, Write};

/// Text of an element, or of an attribute in double quotes.
pub(super) struct Text<T>(pub(super) T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> Result {
        text.chars().try_for_each(|c| match c {
            '&' => self.0.write_str("&amp;"),
            '<' => self.0.write_str("&lt;"),
            '>' => self.0.write_str("&gt;"),
            '"' => self.0.write_str("&quot;"),
            '\'' => self.0.write_str("&#39;"),
            '\n' => self.0.write_char('\n'),
            // Characters that are no text in HTML, and those that turn the direction of what follows.
            c if c.is_control() || is_bidirectional(c) || is_no_character(c) => self.0.write_char('\u{fffd}'),
            c => self.0.write_char(c),
        })
    }
}

fn is_bidirectional(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_no_character(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_text_can_be_markup() {
        let text = "</title><script>alert('1')</script> a=\"b\" & \u{202e}\u{7}\u{0}\u{ffff}é\n2";
        let expected = "&lt;/title&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; a=&quot;b&quot; &amp; \
                        \u{fffd}\u{fffd}\u{fffd}\u{fffd}é\n2";
        assert_eq!(Text(text).to_string(), expected);
        assert_eq!(Text(7).to_string(), "7");
    }
}
