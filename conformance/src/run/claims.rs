//! What an implementation says it has: a small file, or a shim's `hello`.

use crate::case::{Case, Mode, Profile, Scalar};
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// What an implementation claims. What it does not claim is not asked of it; what it claims is verified by the cases that then apply.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Claims {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `client`, `server`; none said: both.
    pub roles: Option<Vec<String>>,
    /// `native`, `classic-2020`, `classic-2019`; none said: all.
    pub profiles: Option<Vec<String>>,
    /// What it can keep: `none`, `sent`, `seen`, `both`; none said: all.
    pub keeps: Option<Vec<String>>,
    /// `none`, `crc32`; none said: all.
    pub check: Option<Vec<String>>,
    /// Whether it starts without memory for each case; a client that is only waited for does not.
    pub fresh: bool,
    /// Settings that it was started with, where the suite does not start it: a case that wants these very settings applies.
    pub settings: BTreeMap<String, Scalar>,
    /// Cases that do not apply to it, with the reason.
    pub not_applicable: BTreeMap<String, String>,
    /// Whether the suite can start it and ask its application.
    #[serde(skip)]
    has_shim: bool,
}

impl Claims {
    /// Reads a declaration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// All that there is: the reference subject in this process.
    pub fn everything() -> Self {
        Self { has_shim: true, fresh: true, ..Self::default() }
    }

    /// What a shim answered to `hello`.
    ///
    /// # Errors
    /// What is wrong with the answer.
    pub fn of_shim(hello: &Json) -> Result<Self, String> {
        let text = |key: &str| hello.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        let list = |key: &str| -> Result<Option<Vec<String>>, String> {
            let Some(list) = hello.get(key) else { return Err(format!("the answer to `hello` has no `{key}`")) };
            let list = list.as_array().ok_or_else(|| format!("`{key}` of the answer to `hello` is no list"))?;
            Ok(Some(list.iter().filter_map(Json::as_str).map(str::to_owned).collect()))
        };
        Ok(Self {
            name: text("name"),
            version: text("version"),
            roles: list("roles")?,
            profiles: list("profiles")?,
            keeps: list("keeps")?,
            check: list("check")?,
            fresh: true,
            has_shim: true,
            ..Self::default()
        })
    }

    /// A declaration beside what a shim says: the file may only take away.
    #[must_use]
    pub fn narrowed_by(self, file: Self) -> Self {
        let both = |shim: Option<Vec<String>>, file: Option<Vec<String>>| match (shim, file) {
            (Some(shim), Some(file)) => Some(shim.into_iter().filter(|word| file.contains(word)).collect()),
            (one, None) | (None, one) => one,
        };
        let or = |first: String, second: String| if first.is_empty() { second } else { first };
        Self {
            name: or(file.name, self.name),
            version: or(file.version, self.version),
            roles: both(self.roles, file.roles),
            profiles: both(self.profiles, file.profiles),
            keeps: both(self.keeps, file.keeps),
            check: both(self.check, file.check),
            fresh: self.fresh || file.fresh,
            settings: file.settings,
            not_applicable: file.not_applicable,
            has_shim: self.has_shim,
        }
    }

    /// What a case needs and is not claimed; `None` if it applies.
    pub fn lack(&self, case: &Case) -> Option<String> {
        let without =
            |words: &Option<Vec<String>>, word: &str| words.as_ref().is_some_and(|all| !all.iter().any(|one| one == word));
        if without(&self.roles, case.role.word()) {
            return Some(format!("it is no {}", case.role));
        }
        if without(&self.profiles, case.profile.word()) {
            return Some(format!("it does not speak {}", case.profile));
        }
        if let Some((_, why)) = self.not_applicable.iter().find(|(id, _)| case.is_meant_by(id)) {
            return Some(why.clone());
        }
        if case.mode != Mode::Wire && !self.has_shim {
            return Some(format!("a case of the mode `{}` takes a shim", case.mode));
        }
        for (key, claimed) in [("keeps", &self.keeps), ("check", &self.check)] {
            if let Some(Scalar::Text(word)) = case.start.get(key)
                && !word.contains('{')
                && without(claimed, word)
            {
                return Some(format!("it has no `{key}` {word}"));
            }
        }
        if !self.has_shim {
            let unmet = case.start.iter().find(|(key, value)| self.settings.get(*key) != Some(value));
            if let Some((key, value)) = unmet {
                return Some(format!("it takes a shim to start it with `{key}` {}", value.value()));
            }
        }
        case.needs.iter().find(|need| !self.meets(need, case.profile)).map(|need| format!("it takes what is called `{need}`"))
    }

    fn meets(&self, need: &str, _: Profile) -> bool {
        match need {
            "fresh" => self.fresh,
            _ => self.has_shim,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Claims;
    use crate::{Case, all_cases, specification};

    fn case(id: &str) -> Case {
        let specification = specification().expect("it has no defect");
        let cases = all_cases(&specification).expect("they are good");
        cases.into_iter().find(|case| case.id == id).expect("there is such a case")
    }

    #[test]
    fn what_is_not_claimed_is_not_asked() {
        let claims = Claims::read("name = 'x'\nroles = ['server']\n[not_applicable]\n'time-003*' = 'it has no clock'")
            .expect("it is good");
        let lack = |id: &str| claims.lack(&case(id));
        assert_eq!(lack("time-005-no-welcome-for-max-of-t-and-5-s").as_deref(), Some("it is no client"));
        assert_eq!(lack("time-003-each-byte-counts[role=server]").as_deref(), Some("it has no clock"));
        assert_eq!(lack("time-002-silence-is-an-outage[role=server]"), None);
        assert!(lack("framing-003-byte-by-byte[role=server]").is_some_and(|why| why.contains("takes a shim")));
        assert!(Claims::read("nonsense = 1").is_err());
    }
}
