//! Where raw data is looked for, and where it is downloaded to.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::data::raw::RawDataset;
use crate::error::{Error, Result};

/// Names a data folder where no flag does.
pub const DATA_VARIABLE: &str = "TEXT_RECOGNIZER_DATA";

/// All that the search depends on.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// What `--data_dir` says.
    pub flag: Option<PathBuf>,
    /// What the environment variable says.
    pub variable: Option<PathBuf>,
    /// The current folder.
    pub current: Option<PathBuf>,
    /// Where an installed package puts the data set.
    pub system: Option<PathBuf>,
    /// The user's own data folder.
    pub user: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn here(flag: Option<&Path>, system: Option<&Path>) -> Self {
        Self {
            flag: flag.map(Path::to_owned),
            variable: set(&|name| env::var_os(name), DATA_VARIABLE),
            current: env::current_dir().ok(),
            system: system.map(Path::to_owned),
            user: user_data(env::consts::OS, &|name| env::var_os(name)),
        }
    }

    /// The folders that may hold the data set, in the order in which they are looked into.
    fn candidates(&self, name: &str) -> Vec<PathBuf> {
        if let Some(named) = self.named() {
            return vec![below(named, name), named.to_owned()];
        }
        let user = self.user.as_deref().map(|user| below(user, name));
        [self.workspace(name), self.system.clone(), user].into_iter().flatten().collect()
    }

    /// The folder that a download goes to.
    fn target(&self, name: &str) -> Option<PathBuf> {
        if let Some(named) = self.named() {
            return Some(below(named, name));
        }
        self.workspace(name).or_else(|| self.user.as_deref().map(|user| below(user, name)))
    }

    fn named(&self) -> Option<&Path> {
        self.flag.as_deref().or(self.variable.as_deref())
    }

    /// `data/raw/NAME` of the workspace that the current folder lies in, told by its metadata.
    fn workspace(&self, name: &str) -> Option<PathBuf> {
        let above = self.current.as_deref()?.ancestors();
        above
            .map(|folder| below(&folder.join("data"), name))
            .find(|folder| folder.join("metadata.json").is_file())
    }

    /// The folder that holds every file of the data set, or else the one to download them to.
    ///
    /// # Errors
    /// When there is neither, which takes a user without a home.
    pub fn folder(&self, dataset: &RawDataset) -> Result<PathBuf> {
        let candidates = self.candidates(&dataset.name);
        if let Some(complete) = candidates.iter().find(|folder| dataset.is_complete_in(folder)) {
            return Ok(complete.clone());
        }
        self.target(&dataset.name).ok_or_else(|| {
            Error::NotFound(format!(
                "{} was not found, and there is no home folder to download it to: name a folder with --data_dir or \
                 {DATA_VARIABLE}",
                dataset.name
            ))
        })
    }

    /// Says where the data set was looked for in vain.
    pub fn not_found(&self, dataset: &RawDataset) -> Error {
        let looked: String =
            self.candidates(&dataset.name).iter().map(|folder| format!("\n  {}", folder.display())).collect();
        Error::NotFound(format!(
            "{} is not on disk: call prepare_data first, which downloads it, or name its folder with --data_dir or \
             {DATA_VARIABLE}. Looked in:{looked}",
            dataset.name
        ))
    }
}

fn below(data: &Path, name: &str) -> PathBuf {
    data.join("raw").join(name)
}

/// The environment: a variable's value by its name.
type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A variable that is set to something.
fn set(variable: Variables<'_>, name: &str) -> Option<PathBuf> {
    variable(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The user's data folder, by each system's custom (XDG Base Directory Specification 0.8 on Linux).
fn user_data(os: &str, variable: Variables<'_>) -> Option<PathBuf> {
    let home = || set(variable, "HOME");
    let base = match os {
        "windows" => set(variable, "LOCALAPPDATA"),
        "macos" => home().map(|home| home.join("Library/Application Support")),
        // The specification has relative paths ignored.
        _ => set(variable, "XDG_DATA_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| home().map(|home| home.join(".local/share"))),
    };
    base.map(|base| base.join("text_recognizer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::RawFile;
    use std::fs;

    fn dataset() -> RawDataset {
        let file =
            |name: &str| RawFile { name: name.into(), content_bytes: 1, content_sha256: String::new() };
        RawDataset {
            name: "digits".into(),
            licence: String::new(),
            mirrors: vec![],
            files: vec![file("a.gz"), file("b.gz")],
        }
    }

    /// Every place with its data folder, in the order of the search.
    fn places(root: &Path) -> (Surroundings, [(&'static str, PathBuf); 6]) {
        let surroundings = Surroundings {
            flag: Some(root.join("flag")),
            variable: Some(root.join("variable")),
            current: Some(root.join("workspace/some/crate")),
            system: Some(root.join("system")),
            user: Some(root.join("user")),
        };
        let folders = [
            ("flag", "flag/raw/digits"),
            ("flag itself", "flag"),
            ("variable", "variable/raw/digits"),
            ("workspace", "workspace/data/raw/digits"),
            ("system", "system"),
            ("user", "user/raw/digits"),
        ];
        (surroundings, folders.map(|(place, folder)| (place, root.join(folder))))
    }

    fn put(folder: &Path, names: &[&str]) {
        fs::create_dir_all(folder).unwrap();
        for name in names {
            fs::write(folder.join(name), "x").unwrap();
        }
    }

    #[test]
    fn the_first_complete_folder_in_the_documented_order_wins() {
        let root = tempfile::tempdir().unwrap();
        let (mut surroundings, folders) = places(root.path());
        for (_, folder) in &folders {
            put(folder, &["a.gz", "b", "metadata.json"]);
        }
        let remove = |place: &str| {
            let (_, folder) = folders.iter().find(|(name, _)| *name == place).unwrap();
            fs::remove_file(folder.join("b")).unwrap();
        };
        let found = |surroundings: &Surroundings| {
            let folder = surroundings.folder(&dataset()).unwrap();
            folders.iter().find(|(_, f)| *f == folder).unwrap().0
        };
        assert_eq!(found(&surroundings), "flag");
        remove("flag");
        assert_eq!(found(&surroundings), "flag itself");
        remove("flag itself");
        assert_eq!(found(&surroundings), "flag", "what is named is downloaded to, not passed over");
        surroundings.flag = None;
        assert_eq!(found(&surroundings), "variable");
        remove("variable");
        assert_eq!(found(&surroundings), "variable");
        surroundings.variable = None;
        assert_eq!(found(&surroundings), "workspace");
        remove("workspace");
        assert_eq!(found(&surroundings), "system");
        remove("system");
        assert_eq!(found(&surroundings), "user");
        remove("user");
        assert_eq!(found(&surroundings), "workspace", "a workspace is downloaded to");
        surroundings.current = Some(root.path().to_owned());
        assert_eq!(found(&surroundings), "user", "outside of one, the user's folder is");
        assert!(surroundings.not_found(&dataset()).to_string().contains("user/raw/digits"));
    }

    #[test]
    fn without_any_place_the_way_out_is_named() {
        let error = Surroundings::default().folder(&dataset()).unwrap_err().to_string();
        assert!(error.contains("--data_dir") && error.contains(DATA_VARIABLE), "{error}");
    }

    #[test]
    fn the_users_folder_follows_the_systems_custom() {
        let all = |name: &str| -> Option<OsString> {
            Some(match name {
                "HOME" => "/home/u".into(),
                "XDG_DATA_HOME" => "/xdg".into(),
                "LOCALAPPDATA" => "/local".into(),
                _ => return None,
            })
        };
        let without_xdg = |name: &str| all(name).filter(|_| name != "XDG_DATA_HOME");
        let relative_xdg = |name: &str| {
            if name == "XDG_DATA_HOME" { Some("xdg".into()) } else { all(name) }
        };
        let empty = |_: &str| Some(OsString::new());
        let table: [(&str, Variables<'_>, Option<&str>); 6] = [
            ("linux", &all, Some("/xdg/text_recognizer")),
            ("linux", &without_xdg, Some("/home/u/.local/share/text_recognizer")),
            ("linux", &relative_xdg, Some("/home/u/.local/share/text_recognizer")),
            ("macos", &all, Some("/home/u/Library/Application Support/text_recognizer")),
            ("windows", &all, Some("/local/text_recognizer")),
            ("linux", &empty, None),
        ];
        for (os, variable, expected) in table {
            assert_eq!(user_data(os, variable), expected.map(PathBuf::from), "{os}");
        }
    }
}
