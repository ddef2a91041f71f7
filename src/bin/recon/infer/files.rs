//! Which files are meant.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use recon_node::error::{Error, Result};

const IMAGE_ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];
const DEPTH_ENDINGS: [&str; 1] = ["png"];
/// What else pictures are kept as: passed over, and told of where nothing else is there.
const OTHER_ENDINGS: [&str; 9] =
    ["avif", "bmp", "cr2", "dng", "heic", "heif", "tif", "tiff", "webp"];

/// Returns the image files that are named, one by one or by their folders.
///
/// # Errors
/// Where a path is nothing, a folder holds no image, or a file is named twice.
pub fn images(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    for path in paths {
        if path.is_dir() {
            images.extend(in_folder(
                path,
                &IMAGE_ENDINGS,
                "give a folder with PNG or JPEG images",
            )?);
        } else {
            std::fs::metadata(path).map_err(Error::io(path, "read the image"))?;
            images.push(path.clone());
        }
    }
    let mut known = BTreeSet::new();
    match images.iter().find(|image| !known.insert(*image)) {
        None => Ok(images),
        Some(twice) => Err(Error::Usage(format!(
            "{}: the image is named twice; name it once",
            twice.display()
        ))),
    }
}

/// Returns the depth file of each image, where it has one: of a folder the one of the same name,
/// else as many as there are images in the same order.
///
/// # Errors
/// Where that cannot be done.
pub fn depths(paths: &[PathBuf], images: &[PathBuf]) -> Result<Vec<Option<PathBuf>>> {
    let files = match paths {
        [] => return Ok(vec![None; images.len()]),
        [folder] if folder.is_dir() => {
            let remedy = "give a folder with 16-bit PNG images of depth";
            let files = in_folder(folder, &DEPTH_ENDINGS, remedy)?;
            let by_name = images.iter().map(|image| {
                files.iter().find(|depth| depth.file_stem() == image.file_stem()).cloned()
            });
            let by_name: Vec<_> = by_name.collect();
            if by_name.iter().any(Option::is_some) {
                return Ok(by_name);
            }
            files
        }
        files => files.to_vec(),
    };
    if files.len() == images.len() {
        return Ok(files.into_iter().map(Some).collect());
    }
    Err(Error::Usage(format!(
        "--depth gives {} files for {} images, and none has an image's name; give one for each \
         image, in the same order, or name them like the images",
        files.len(),
        images.len()
    )))
}

/// The files of a folder with one of the endings, by name.
fn in_folder(folder: &Path, endings: &[&str], remedy: &'static str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder, "list the folder"))?;
    let (mut files, mut others) = (Vec::new(), 0);
    for entry in entries {
        let path = entry.map_err(Error::io(folder, "list the folder"))?.path();
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        let ends = |endings: &[&str]| ending.as_deref().is_some_and(|e| endings.contains(&e));
        if ends(endings) && path.is_file() {
            files.push(path);
        } else if ends(&OTHER_ENDINGS) {
            others += 1;
        }
    }
    files.sort_by(|a, b| natural_order(a, b));
    if files.is_empty() {
        let others = match others {
            0 => String::new(),
            _ => format!(" ({others} of another kind cannot be read: convert them)"),
        };
        let problem = format!("there is no {} file in it{others}", endings.join(" or "));
        return Err(Error::input(folder, problem, remedy));
    }
    Ok(files)
}

/// The order of names in which 2 comes before 10; else that of their letters.
fn natural_order(a: &Path, b: &Path) -> Ordering {
    let parts = |path: &Path| {
        let name = path.to_string_lossy().into_owned();
        let mut parts: Vec<(String, String)> = vec![Default::default()];
        for letter in name.chars() {
            let last = parts.len() - 1;
            match (letter.is_ascii_digit(), parts[last].1.is_empty()) {
                (true, _) => parts[last].1.push(letter),
                (false, true) => parts[last].0.push(letter),
                (false, false) => parts.push((letter.into(), String::new())),
            }
        }
        // Numbers of one length are in the order of their digits, longer ones are larger.
        let number = |digits: &str| {
            let value = digits.trim_start_matches('0');
            (value.len(), value.to_owned(), digits.to_owned())
        };
        parts.iter().map(|(text, digits)| (text.clone(), number(digits))).collect::<Vec<_>>()
    };
    parts(a).cmp(&parts(b))
}

/// Returns the name of each image relative to the folder that holds them all, with `/`.
pub fn relative_names(images: &[PathBuf]) -> Vec<String> {
    let folder = images.iter().map(|image| image.parent().unwrap_or(Path::new("")));
    let common = folder.reduce(common_folder).unwrap_or(Path::new(""));
    let relative = |image: &PathBuf| {
        let rest = image.strip_prefix(common).unwrap_or(image);
        rest.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
    };
    images.iter().map(relative).collect()
}

fn common_folder<'a>(a: &'a Path, b: &Path) -> &'a Path {
    a.ancestors().find(|folder| b.starts_with(folder)).unwrap_or(Path::new(""))
}

/// Returns for each image a name for its results, without ending, that no other has.
pub fn result_names(images: &[PathBuf]) -> Vec<String> {
    let stem =
        |image: &PathBuf| image.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let stems: Vec<String> = images.iter().map(stem).collect();
    let distinct: BTreeSet<&String> = stems.iter().collect();
    if distinct.len() == stems.len() {
        return stems;
    }
    stems.iter().enumerate().map(|(index, stem)| format!("{index:04}_{stem}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn names_are_relative_to_what_all_have_in_common() {
        let cases: [(&[&str], &[&str]); 5] = [
            (&["a.jpg"], &["a.jpg"]),
            (&["in/a.jpg", "in/b.jpg"], &["a.jpg", "b.jpg"]),
            (&["in/l/a.jpg", "in/r/a.jpg"], &["l/a.jpg", "r/a.jpg"]),
            (&["in/a.jpg", "b.jpg"], &["in/a.jpg", "b.jpg"]),
            (&["/x/in/a.jpg", "/x/b.jpg"], &["in/a.jpg", "b.jpg"]),
        ];
        for (images, expected) in cases {
            assert_eq!(relative_names(&paths(images)), expected);
        }
    }

    #[test]
    fn numbers_in_names_count() {
        let mut names = paths(&["a/i10.png", "a/i2.png", "a/i03.png", "a/b.png", "a/i2b1.png"]);
        names.sort_by(|a, b| natural_order(a, b));
        let expected = ["a/b.png", "a/i2.png", "a/i2b1.png", "a/i03.png", "a/i10.png"];
        assert_eq!(names, paths(&expected));
        let mut times = paths(&["10.966667.jpg", "1.966667.jpg", "1.000000.jpg"]);
        times.sort_by(|a, b| natural_order(a, b));
        assert_eq!(times, paths(&["1.000000.jpg", "1.966667.jpg", "10.966667.jpg"]));
    }

    #[test]
    fn results_of_images_with_one_name_get_numbers() {
        assert_eq!(result_names(&paths(&["l/a.jpg", "l/b.jpg"])), ["a", "b"]);
        assert_eq!(result_names(&paths(&["l/a.jpg", "r/a.jpg"])), ["0000_a", "0001_a"]);
        assert_eq!(result_names(&paths(&["a.jpg", "a.png"])), ["0000_a", "0001_a"]);
    }
}
