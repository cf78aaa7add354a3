//! What is in the log when it is opened: all batches that can be read, and what is wrong. Nothing is changed here but by
//! [`Found::clear`] and [`repair`].

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // A store touches files.

use super::StoreError;
use super::directory;
use super::log::{self, Beginning, HEADER, Header, PAGE};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A batch that can be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    /// In which of the files.
    pub(super) file: usize,
    pub(super) at: u64,
    pub(super) header: Header,
}

/// A page with which a batch may have begun that cannot be read.
#[derive(Clone, Copy, Debug)]
struct Spoiled {
    file: usize,
    at: u64,
    /// Nothing where this may be what is wrong.
    number: Option<u64>,
    /// It may be anything else, which is only by chance like that.
    is_doubtful: bool,
}

/// What is in the log.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) seed: u64,
    /// By their names.
    pub(super) files: Vec<(PathBuf, Arc<File>, u64)>,
    /// By their numbers, those that are not needed any more, too.
    pub(super) batches: BTreeMap<u64, Whole>,
    spoiled: Vec<Spoiled>,
    /// What no crash does.
    faults: Vec<String>,
}

/// What is wrong with a log.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Batches are missing that were there.
    pub(super) damage: Vec<String>,
    /// The last batch that can be used if they are given up.
    pub(super) usable: u64,
    /// What follows the last batch and is no whole batch: a crash while a batch is written leaves that.
    pub(super) torn: Option<String>,
}

/// Reads everything; nothing where there is no log.
pub(super) fn read(directory: &Path) -> Result<Option<Found>, StoreError> {
    let mut paths = Vec::new();
    match fs::read_dir(directory) {
        Ok(entries) => {
            for entry in entries {
                let path = entry?.path();
                paths.extend(log::name_of(&path).map(|(number, length)| (number, length, path)));
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let seed = match log::seed(directory)? {
        Some(seed) => seed,
        // It was being made.
        None if paths.is_empty() && !directory.join(log::SEED).exists() => return Ok(None),
        None => {
            return Err(StoreError::Damaged("the file `log/seed` is not as it was written".to_owned()));
        }
    };
    let mut found = Found::empty(seed);
    paths.sort();
    for (_, length, path) in paths {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let is = file.metadata()?.len();
        if is != length {
            found.faults.push(format!("log/{} is {is} bytes long", name(&path)));
        }
        found.read_file(&file, is)?;
        found.files.push((path, Arc::new(file), length));
    }
    Ok(Some(found))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().display().to_string()
}

impl Found {
    /// What is in a log that was just made.
    pub(super) fn empty(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    fn read_file(&mut self, file: &File, length: u64) -> Result<(), StoreError> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, 0)?;
        let index = self.files.len();
        let mut at = 0_usize;
        while let Some(page) = bytes.get(at..).filter(|page| !page.is_empty()) {
            let mut taken = PAGE;
            let mut spoil = |number, is_doubtful| {
                self.spoiled.push(Spoiled { file: index, at: at as u64, number, is_doubtful });
            };
            match Header::read(self.seed, page) {
                Beginning::Of(header) => {
                    let length = usize::try_from(header.length).unwrap_or(usize::MAX);
                    let steps = page.get(HEADER..HEADER.saturating_add(length));
                    if steps.is_some_and(|steps| log::sum(self.seed, steps) == header.sum) {
                        self.batches.insert(header.number, Whole { file: index, at: at as u64, header });
                        taken = usize::try_from(header.pages()).unwrap_or(usize::MAX);
                    } else {
                        spoil(Some(header.number), false);
                    }
                }
                Beginning::Spoiled => spoil(None, false),
                Beginning::Other(number) if number > 0 => spoil(Some(number), true),
                Beginning::Other(_) => {}
            }
            at = at.saturating_add(taken);
        }
        Ok(())
    }

    /// The number of the last batch.
    pub(super) fn last(&self) -> Option<u64> {
        self.batches.keys().next_back().copied()
    }

    /// Up to which batch the database has everything, as the log says.
    pub(super) fn base(&self) -> u64 {
        self.batches.values().next_back().map_or(0, |whole| whole.header.base)
    }

    /// A batch that the database had, as the log says.
    pub(super) fn below(&self) -> u64 {
        self.batches.values().next_back().map_or(0, |whole| whole.header.below)
    }

    /// How many batches the database may not have.
    pub(super) fn needed(&self, known: u64) -> u64 {
        self.last().unwrap_or_default().saturating_sub(self.base().max(known))
    }

    /// The first batch of those up to this one between which none is missing.
    pub(super) fn run_to(&self, last: u64) -> u64 {
        let mut first = last;
        for &number in self.batches.range(..=last).rev().map(|(number, _)| number) {
            if number.saturating_add(1) < first {
                break;
            }
            first = number;
        }
        first
    }

    /// Whether all is there, if the database has everything up to a batch.
    pub(super) fn judge(&self, known: u64, is_repaired: bool) -> Verdict {
        let mut damage = self.faults.clone();
        let last = self.last().unwrap_or_default();
        let base = self.base().max(known);
        let mut usable = last.max(known);
        if is_repaired {
            // What is missing was found to be missing.
        } else if last < known {
            damage.push(format!("the log ends with batch {last}, but there was batch {known}"));
        } else {
            // The last of which all before are there.
            let mut expected = base.saturating_add(1);
            for &number in self.batches.range(expected..).map(|(number, _)| number) {
                if number > expected {
                    let what = self.place_of(expected).unwrap_or_default();
                    damage.push(format!(
                        "batch {expected} of the log cannot be read{what}, and batch {last} follows it"
                    ));
                    usable = expected.saturating_sub(1);
                    break;
                }
                expected = number.saturating_add(1);
            }
        }
        let torn = self.torn(usable).map(|spoiled| {
            let (file, at) = (self.name(spoiled.file), spoiled.at);
            format!(
                "log/{file} at byte {at}: what follows batch {usable} is no whole batch and is cut off, as after a crash in \
                 the middle of a write"
            )
        });
        Verdict { damage, usable, torn }
    }

    fn name(&self, file: usize) -> String {
        self.files.get(file).map(|(path, ..)| name(path)).unwrap_or_default()
    }

    /// Where a batch is that cannot be read, if that can be seen.
    fn place_of(&self, number: u64) -> Option<String> {
        let mut certain = self.spoiled.iter().filter(|spoiled| !spoiled.is_doubtful);
        let spoiled = certain.find(|spoiled| spoiled.number == Some(number))?;
        Some(format!(" (log/{} at byte {})", self.name(spoiled.file), spoiled.at))
    }

    /// What stands where the batch behind this one would, and is none.
    fn torn(&self, last: u64) -> Option<Spoiled> {
        let next =
            self.batches.get(&last).map(|whole| (whole.file, whole.at.saturating_add(whole.header.pages())));
        self.spoiled.iter().copied().find(|spoiled| {
            let is_next = spoiled.at == 0 || next == Some((spoiled.file, spoiled.at));
            is_next && spoiled.number.is_none_or(|number| number == last.saturating_add(1))
        })
    }

    /// Makes sure that nothing behind a batch is ever read.
    pub(super) fn clear(&self, last: u64) -> io::Result<()> {
        let behind = self.batches.range(last.saturating_add(1)..).map(|(_, whole)| (whole.file, whole.at));
        let certain = self.spoiled.iter().filter(|spoiled| !spoiled.is_doubtful);
        let spoiled = certain.filter(|spoiled| spoiled.number.is_none_or(|number| number > last));
        let torn = self.torn(last);
        for (file, at) in behind.chain(spoiled.chain(&torn).map(|spoiled| (spoiled.file, spoiled.at))) {
            if let Some((_, file, _)) = self.files.get(file) {
                file.write_all_at(&[0; HEADER], at)?;
                file.sync_data()?;
            }
        }
        Ok(())
    }

    /// The steps of a batch.
    pub(super) fn steps(&self, whole: &Whole) -> Result<Vec<u8>, StoreError> {
        let mut steps = vec![0; usize::try_from(whole.header.length).unwrap_or_default()];
        if let Some((_, file, _)) = self.files.get(whole.file) {
            file.read_exact_at(&mut steps, whole.at.saturating_add(HEADER as u64))?;
        }
        Ok(steps)
    }
}

/// Ends the log before the damage, and keeps what it was in `damaged`; what was done.
pub(super) fn repair(directory: &Path) -> Result<Vec<String>, StoreError> {
    let aside = directory.with_file_name("damaged").join("log");
    match read(directory) {
        Ok(None) => Ok(Vec::new()),
        Ok(Some(found)) => {
            let verdict = found.judge(0, false);
            if verdict.damage.is_empty() {
                return Ok(Vec::new());
            }
            keep(directory, &aside)?;
            for (_, file, length) in &found.files {
                file.set_len(*length)?;
            }
            found.clear(verdict.usable)?;
            Ok(verdict.damage.into_iter().map(|what| format!("{what}: cut off here")).collect())
        }
        Err(StoreError::Damaged(what)) => {
            keep(directory, &aside)?;
            fs::remove_dir_all(directory)?;
            log::make(directory)?;
            Ok(vec![format!("{what}: the log is left out")])
        }
        Err(error) => Err(error),
    }
}

/// Copies all files.
fn keep(directory: &Path, aside: &Path) -> io::Result<()> {
    match fs::remove_dir_all(aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    directory::make(aside)?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        fs::copy(entry.path(), aside.join(entry.file_name()))?;
    }
    Ok(())
}
