//! The folders that raw data is read from and downloaded to.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::data::raw::RawDataset;
use crate::error::{Error, Result};

/// The environment variable with the data folder, which is used if no flag gives one.
const DATA_VARIABLE: &str = "TEXT_RECOGNIZER_DATA";

/// The folders that the search starts from.
#[derive(Debug, Default)]
pub(crate) struct SearchPath {
    /// The value of `--data_dir`.
    pub flag: Option<PathBuf>,
    /// The value of the environment variable.
    pub variable: Option<PathBuf>,
    /// The current folder.
    pub current: Option<PathBuf>,
    /// The folder in which an installed package has the data set.
    pub system: Option<PathBuf>,
    /// The user's own data folder.
    pub user: Option<PathBuf>,
}

impl SearchPath {
    /// Returns the folders of this process.
    pub fn here(flag: Option<&Path>, system: Option<&Path>) -> Self {
        Self {
            flag: flag.map(Path::to_owned),
            variable: set(&|name| env::var_os(name), DATA_VARIABLE),
            current: env::current_dir().ok(),
            system: system.map(Path::to_owned),
            user: user_data(env::consts::OS, &|name| env::var_os(name)),
        }
    }

    /// Returns the folders that may contain the data set, in the order of the search.
    fn candidates(&self, name: &str) -> Vec<PathBuf> {
        if let Some(named) = self.named() {
            return vec![below(named, name), named.to_owned()];
        }
        let user = self.user.as_deref().map(|user| below(user, name));
        [self.workspace(name), self.system.clone(), user].into_iter().flatten().collect()
    }

    /// Returns the folder for a download.
    fn target(&self, name: &str) -> Option<PathBuf> {
        if let Some(named) = self.named() {
            return Some(below(named, name));
        }
        self.workspace(name).or_else(|| self.user.as_deref().map(|user| below(user, name)))
    }

    fn named(&self) -> Option<&Path> {
        self.flag.as_deref().or(self.variable.as_deref())
    }

    /// Returns `data/raw/NAME` of the workspace around the current folder, which has a `metadata.json` there.
    fn workspace(&self, name: &str) -> Option<PathBuf> {
        let above = self.current.as_deref()?.ancestors();
        above
            .map(|folder| below(&folder.join("data"), name))
            .find(|folder| folder.join("metadata.json").is_file())
    }

    /// Returns the folder that contains every file of the data set, or else the folder to download them to.
    ///
    /// # Errors
    /// Fails if there is neither, which happens only to a user without a home folder.
    pub fn folder(&self, dataset: &RawDataset) -> Result<PathBuf> {
        let candidates = self.candidates(&dataset.name);
        if let Some(complete) = candidates.iter().find(|folder| dataset.is_complete_in(folder)) {
            return Ok(complete.clone());
        }
        self.target(&dataset.name).ok_or_else(|| {
            Error::NotFound(format!(
                "cannot find {}: there is no home folder to download it to; try a folder in --data_dir or \
                 {DATA_VARIABLE}",
                dataset.name
            ))
        })
    }

    /// Returns an error that lists the folders of the search.
    pub fn not_found(&self, dataset: &RawDataset) -> Error {
        let looked: String =
            self.candidates(&dataset.name).iter().map(|folder| format!("\n  {}", folder.display())).collect();
        Error::NotFound(format!(
            "cannot find {}: it is not on disk; try prepare_data first, which downloads it, or its folder in --data_dir or \
             {DATA_VARIABLE}. Folders of the search:{looked}",
            dataset.name
        ))
    }
}

fn below(data: &Path, name: &str) -> PathBuf {
    data.join("raw").join(name)
}

/// The environment: returns the value of a variable.
type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Returns the value of a variable that is set and not empty.
fn set(variable: Variables<'_>, name: &str) -> Option<PathBuf> {
    variable(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Returns the user's data folder by the convention of the system (on Linux the XDG Base Directory Specification 0.8).
fn user_data(os: &str, variable: Variables<'_>) -> Option<PathBuf> {
    let home = || set(variable, "HOME");
    let base = match os {
        "windows" => set(variable, "LOCALAPPDATA"),
        "macos" => home().map(|home| home.join("Library/Application Support")),
        // The specification requires that relative paths are ignored.
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
            license: String::new(),
            mirrors: vec![],
            files: vec![file("a.gz"), file("b.gz")],
        }
    }

    /// Returns every place with its data folder, in the order of the search.
    fn places(root: &Path) -> (SearchPath, [(&'static str, PathBuf); 6]) {
        let search = SearchPath {
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
        (search, folders.map(|(place, folder)| (place, root.join(folder))))
    }

    fn put(folder: &Path, names: &[&str]) {
        fs::create_dir_all(folder).unwrap();
        for name in names {
            fs::write(folder.join(name), "x").unwrap();
        }
    }

    #[test]
    fn folder_several_complete_returns_first_in_documented_order() {
        let root = tempfile::tempdir().unwrap();
        let (mut search, folders) = places(root.path());
        for (_, folder) in &folders {
            put(folder, &["a.gz", "b", "metadata.json"]);
        }
        let remove = |place: &str| {
            let (_, folder) = folders.iter().find(|(name, _)| *name == place).unwrap();
            fs::remove_file(folder.join("b")).unwrap();
        };
        let found = |search: &SearchPath| {
            let folder = search.folder(&dataset()).unwrap();
            folders.iter().find(|(_, f)| *f == folder).unwrap().0
        };
        assert_eq!(found(&search), "flag");
        remove("flag");
        assert_eq!(found(&search), "flag itself");
        remove("flag itself");
        assert_eq!(found(&search), "flag", "a given folder is downloaded to, not skipped");
        search.flag = None;
        assert_eq!(found(&search), "variable");
        remove("variable");
        assert_eq!(found(&search), "variable");
        search.variable = None;
        assert_eq!(found(&search), "workspace");
        remove("workspace");
        assert_eq!(found(&search), "system");
        remove("system");
        assert_eq!(found(&search), "user");
        remove("user");
        assert_eq!(found(&search), "workspace", "a workspace is downloaded to");
        search.current = Some(root.path().to_owned());
        assert_eq!(found(&search), "user", "outside of a workspace, the user's folder is downloaded to");
        assert!(search.not_found(&dataset()).to_string().contains("user/raw/digits"));
    }

    #[test]
    fn folder_without_any_place_fails_with_remedies() {
        let error = SearchPath::default().folder(&dataset()).unwrap_err().to_string();
        assert!(error.contains("--data_dir") && error.contains(DATA_VARIABLE), "{error}");
    }

    #[test]
    fn user_data_each_system_returns_conventional_folder() {
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
