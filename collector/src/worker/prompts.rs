//! Answering what a server asks by keyboard-interactive (RFC 4256): a password, once; nobody is there for more.

use model::text::escape;
use ssh2::{KeyboardInteractivePrompt, Prompt};

/// The most prompts of one login that are looked at; whoever asks more is not asking for a password.
const MAX_ROUNDS: usize = 8;

/// Gives the password to the first round that asks one hidden question and nothing else, and to no other.
pub(super) struct Prompts<'a> {
    password: Option<&'a str>,
    rounds: usize,
    /// The first question that was not answered, escaped.
    pub(super) unanswered: Option<String>,
}

impl<'a> Prompts<'a> {
    pub(super) fn new(password: &'a str) -> Self {
        Self { password: Some(password), rounds: 0, unanswered: None }
    }

    /// The password, where this round is the one that it is for. A round that asks for something else besides cannot
    /// succeed: it does not get the password either.
    fn answer(&mut self, round: &[Prompt<'_>]) -> Vec<String> {
        self.rounds += 1;
        match round {
            [] => return Vec::new(),
            [only] if !only.echo && self.rounds <= MAX_ROUNDS => {
                if let Some(password) = self.password.take() {
                    return vec![password.to_owned()];
                }
            }
            _ => {}
        }
        // Of several, the last one is what a password does not answer.
        let asked = round.iter().find(|prompt| prompt.echo).or(round.last());
        if let (None, Some(prompt)) = (&self.unanswered, asked) {
            self.unanswered = Some(escape(prompt.text.trim()));
        }
        vec![String::new(); round.len()]
    }
}

impl KeyboardInteractivePrompt for Prompts<'_> {
    fn prompt(&mut self, _username: &str, _instructions: &str, prompts: &[Prompt<'_>]) -> Vec<String> {
        self.answer(prompts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rounds' answers, and what was left unanswered; a prompt that ends in `+` is echoed.
    fn asked(rounds: &[&[&str]]) -> (Vec<Vec<String>>, Option<String>) {
        let mut prompts = Prompts::new("geheim");
        let answers = rounds
            .iter()
            .map(|round| {
                let round: Vec<_> = round
                    .iter()
                    .map(|text| Prompt { text: text.trim_end_matches('+').into(), echo: text.ends_with('+') })
                    .collect();
                prompts.answer(&round)
            })
            .collect();
        (answers, prompts.unanswered)
    }

    #[test]
    fn one_hidden_question_gets_the_password() {
        assert_eq!(asked(&[&["Password: "], &[]]), (vec![vec!["geheim".to_owned()], vec![]], None));
    }

    #[test]
    fn the_password_goes_out_once() {
        let (answers, unanswered) = asked(&[&["Password: "], &["Password: "]]);
        assert_eq!(answers, [["geheim"], [""]]);
        assert_eq!(unanswered.as_deref(), Some("Password:"));
    }

    #[test]
    fn other_questions_get_nothing_and_are_named() {
        for (round, named) in [
            (&["Verification code: +"][..], "Verification code:"),
            (&["Password: ", "Code\u{1b}[2J: "], "Code\\u{1b}[2J:"),
            (&["User: +", "Password: "], "User:"),
        ] {
            let (answers, unanswered) = asked(&[round]);
            assert!(
                answers[0].iter().all(String::is_empty) && answers[0].len() == round.len(),
                "{answers:?}"
            );
            assert_eq!(unanswered.as_deref(), Some(named));
        }
    }

    #[test]
    fn nothing_is_answered_after_many_rounds() {
        let (answers, _) =
            asked(&[&[][..]; MAX_ROUNDS].iter().copied().chain([&["Password:"][..]]).collect::<Vec<_>>());
        assert_eq!(answers.last(), Some(&vec![String::new()]));
    }
}
