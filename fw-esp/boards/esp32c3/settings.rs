//! Settings of the environment, taken when a program for this chip is built. And the linker's scripts.

/// A variable of the environment, how it may be left out, what is wrong with a value, and what it is.
pub struct Setting {
    pub name: &'static str,
    pub default: Option<&'static str>,
    pub is_valid: fn(&str) -> bool,
    pub what: &'static str,
}

impl Setting {
    /// Its value, or its default.
    pub fn value(&self) -> Option<String> {
        std::env::var(self.name).ok().or(self.default.map(String::from))
    }
}

/// Hands all settings on to the compiler, for `env!`, or says what is wrong with them.
pub fn settle(settings: &[Setting]) {
    for setting in settings {
        println!("cargo:rerun-if-env-changed={}", setting.name);
    }
    let wrong: Vec<String> = settings.iter().filter_map(|setting| tell(setting).err()).collect();
    if !wrong.is_empty() {
        println!("cargo::error=set these in the environment, and build again:");
        for line in wrong {
            println!("cargo::error={line}");
        }
        return;
    }
    for script in ["-Tlinkall.x", "-Tdefmt.x"] {
        println!("cargo:rustc-link-arg={script}");
    }
}

/// Hands a setting on to the compiler.
fn tell(setting: &Setting) -> Result<(), String> {
    let Setting { name, is_valid, what, .. } = setting;
    match setting.value() {
        Some(value) if is_valid(&value) && !value.contains('\n') => {
            println!("cargo:rustc-env={name}={value}");
            Ok(())
        }
        Some(_) => Err(format!("{name} is not what it should be: {what}")),
        None => Err(format!("{name} is missing: {what}")),
    }
}
