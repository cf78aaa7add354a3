//! The programs are beside this file. This file only has the code of the project's README compiled and run.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
