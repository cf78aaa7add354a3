//! Passwords that do not stand on the command line.

use crate::failure::{Failure, Outcome};

pub(crate) fn from_environment(name: &str) -> Outcome<Vec<u8>> {
    let value = std::env::var_os(name);
    let value = value.ok_or_else(|| Failure::usage(format!("the environment has no variable {name}.")))?;
    Ok(value.into_encoded_bytes())
}

pub(crate) fn from_file(path: &str) -> Outcome<Vec<u8>> {
    let text = std::fs::read(path).map_err(|error| Failure::usage(format!("cannot read {path}: {error}")))?;
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}

pub(crate) fn from_prompt() -> Outcome<Vec<u8>> {
    let password = rpassword::prompt_password("Password: ");
    Ok(password
        .map_err(|error| Failure::usage(format!("cannot ask for the password: {error}")))?
        .into_bytes())
}
