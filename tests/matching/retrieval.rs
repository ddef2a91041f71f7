//! Retrieval of keyframes by their descriptors.

use proptest::prelude::*;
use recon_node::keyframe::KeyframeId;
use recon_node::matching::mutual_nearest;
use recon_node::matching::retrieval::{
    Appearance, AsmkConfig, AsmkIndex, Codebook, PlaceIndex, RetrievalIndex,
};

use crate::fixture::Fixture;

#[test]
fn scores_are_those_of_the_reference() {
    let Some(fixture) = Fixture::shared("retrieval/retrieval.safetensors") else { return };
    let codebook = Codebook::new(32, fixture.floats("in.centroids")).unwrap();
    let mut index = AsmkIndex::new(codebook, AsmkConfig::default());
    let images: Vec<Vec<f32>> =
        fixture.floats("in.asmk_feats").chunks_exact(20 * 32).map(<[f32]>::to_vec).collect();
    for (id, image) in (0..).zip(&images) {
        index.insert(KeyframeId(id), image).unwrap();
    }
    let expected = fixture.rows::<10>("out.asmk_scores");
    for (image, expected) in images.iter().zip(expected) {
        for (found, expected) in index.scores(image).unwrap().into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}

/// Pseudo-random numbers in -0.5..0.5.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

fn words_of(images: &[Vec<f32>]) -> AsmkIndex {
    let all: Vec<f32> = images.concat();
    let codebook = Codebook::train(16, &all, 24, 4).unwrap();
    let mut index = AsmkIndex::new(codebook, AsmkConfig::default());
    for (id, image) in (0..).zip(images) {
        index.insert(KeyframeId(id), image).unwrap();
    }
    index
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_image_with_noise_is_among_those_found_by_its_words(which in 0usize..12, seed in 0u64..1000) {
        let images: Vec<_> = (0..12).map(|i| numbers(60 * 16, seed * 12 + i)).collect();
        let noise = numbers(60 * 16, seed + 77_777);
        let noisy: Vec<f32> = images[which].iter().zip(&noise).map(|(v, n)| v + 0.1 * n).collect();
        let index = words_of(&images);
        let own = KeyframeId(which as u32);
        // Noise moves descriptors to other words, so that another image may come first by chance.
        let found = index.query(&noisy, 3, |_| false).unwrap();
        prop_assert!(found.len() == 3 && found.iter().any(|f| f.keyframe == own));
        prop_assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
        prop_assert!(found.iter().all(|f| (0.0..=1.0).contains(&f.score)));
        let others = index.query(&noisy, 12, |id| id == own).unwrap();
        prop_assert!(others.iter().all(|f| f.keyframe != own));
    }

    #[test]
    fn an_image_with_noise_finds_itself(which in 0usize..12, seed in 0u64..1000) {
        let images: Vec<_> = (0..12).map(|i| numbers(60 * 16, seed * 12 + i)).collect();
        let noise = numbers(60 * 16, seed + 77_777);
        let noisy: Vec<f32> = images[which].iter().zip(&noise).map(|(v, n)| v + 0.1 * n).collect();
        let mut index = RetrievalIndex::new(16);
        for (id, image) in (0..).zip(&images) {
            index.insert(KeyframeId(id), image).unwrap();
        }
        let found = index.query(&noisy, 3, |_| false).unwrap();
        prop_assert_eq!(found[0].keyframe, KeyframeId(which as u32));
        prop_assert!(found[0].score <= 1.0 + 1e-6 && found[0].score > found[1].score);
        // The order of an image's descriptors says nothing.
        let reversed: Vec<f32> = noisy.chunks_exact(16).rev().flatten().copied().collect();
        for (a, b) in index.scores(&noisy).unwrap().iter().zip(index.scores(&reversed).unwrap()) {
            prop_assert!((a - b).abs() < 1e-4);
        }
        let others = index.query(&noisy, 12, |id| id == found[0].keyframe).unwrap();
        prop_assert!(others.iter().all(|f| f.keyframe != found[0].keyframe));
        prop_assert_eq!(&others[0], &found[1]);
    }

    #[test]
    fn scores_do_not_depend_on_what_comes_later(seed in 0u64..1000) {
        let images: Vec<_> = (0..8).map(|i| numbers(40 * 16, seed * 8 + i)).collect();
        let codebook = Codebook::train(16, &images.concat(), 16, 3).unwrap();
        let mut index = AsmkIndex::new(codebook, AsmkConfig::default());
        let mut before = Vec::new();
        for (id, image) in (0..).zip(&images) {
            let scores = index.scores(&images[0]).unwrap();
            prop_assert_eq!(&scores[..before.len()], &before[..]);
            before = scores;
            index.insert(KeyframeId(id), image).unwrap();
        }
    }
}

/// Images along a way: each shares all but a few of its descriptors with the one before.
fn along_a_way(count: u32) -> Vec<(KeyframeId, Vec<f32>)> {
    let mut view = numbers(60 * 16, 5);
    (0..count)
        .map(|step| {
            let at = 16 * (7 * step as usize % 60);
            view[at..at + 16].copy_from_slice(&numbers(16, u64::from(1000 + step)));
            (KeyframeId(step), view.clone())
        })
        .collect()
}

/// Of more keyframes than a query reads in full, bits choose which; the best must be among them.
#[test]
fn bits_leave_out_none_of_the_most_similar_of_many() {
    let images = along_a_way(3000);
    let mut index = RetrievalIndex::new(16);
    images.iter().for_each(|(id, image)| index.insert(*id, image).unwrap());
    let (mut asked, mut missed) = (0, 0);
    for step in (0..3000).step_by(150) {
        let noise = numbers(60 * 16, 900_000 + step as u64);
        let noisy: Vec<f32> = images[step].1.iter().zip(&noise).map(|(v, n)| v + 0.2 * n).collect();
        let is_near = |id: KeyframeId| (id.0 as usize).abs_diff(step) < 5;
        for exclude in [&(|_| false) as &dyn Fn(KeyframeId) -> bool, &is_near] {
            let scores = index.scores(&noisy).unwrap();
            let mut all: Vec<(KeyframeId, f64)> = images
                .iter()
                .map(|(id, _)| *id)
                .zip(scores)
                .filter(|(id, _)| !exclude(*id))
                .collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1));
            let found = index.query(&noisy, 5, exclude).unwrap();
            assert_eq!(found[0].keyframe, all[0].0, "the most similar of all, at {step}");
            assert!(found.iter().all(|f| !exclude(f.keyframe)));
            asked += found.len();
            missed +=
                all[..5].iter().filter(|(id, _)| !found.iter().any(|f| f.keyframe == *id)).count();
        }
    }
    assert!(asked == 200 && missed <= 2, "{missed} of {asked} missed");
}

#[test]
fn threads_do_not_change_scores_or_codebooks() {
    let images: Vec<_> = (0..6).map(|i| numbers(50 * 16, i)).collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| words_of(&images).scores(&images[3]).unwrap())
    };
    assert_eq!(run(1), run(4));
    let pooled = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut index = RetrievalIndex::new(16);
        images.iter().for_each(|image| index.insert(KeyframeId(0), image).unwrap());
        pool.install(|| index.scores(&images[3]).unwrap())
    };
    assert_eq!(pooled(1), pooled(4));
}

#[test]
fn what_does_not_fit_is_refused() {
    assert!(Codebook::new(16, vec![0.0; 40]).is_err());
    assert!(Codebook::train(16, &[0.0; 32], 3, 1).is_err());
    assert!(RetrievalIndex::new(16).insert(KeyframeId(0), &[0.0; 17]).is_err());
    let codebook = Codebook::new(16, vec![0.0; 32]).unwrap();
    let mut index = AsmkIndex::new(codebook, AsmkConfig::default());
    assert!(index.insert(KeyframeId(0), &[0.0; 17]).is_err());
    index.insert(KeyframeId(0), &[]).unwrap();
    assert!(index.query(&[], 5, |_| false).unwrap().is_empty());
    assert!(
        mutual_nearest(4, &[1.0; 4], &[1.0; 7], 0.0).unwrap_err().to_string().contains("not empty")
    );
}

#[test]
fn mutual_neighbours_are_mutual_and_good_enough() {
    let a = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8];
    let b = [0.9, 0.1, 0.0, 0.2];
    assert_eq!(mutual_nearest(2, &a, &b, 0.0).unwrap(), [(0, 0), (1, 1)]);
    assert_eq!(mutual_nearest(2, &a, &b, 0.5).unwrap(), [(0, 0)]);
    assert!(mutual_nearest(2, &a, &[], 0.0).unwrap().is_empty());
}

/// What is kept of a keyframe is exact, also in half precision, and useless to other codebooks.
#[test]
fn a_keyframe_is_found_again_by_what_was_kept_of_its_words() {
    let images: Vec<_> = (0..6).map(|i| numbers(60 * 16, i)).collect();
    let index = words_of(&images);
    let mut restored = index.emptied();
    for id in (0..6).map(KeyframeId) {
        let kept = index.signature_of(id).unwrap();
        assert!(kept.iter().all(|v| v.fract() == 0.0 && (0.0..=255.0).contains(v)));
        restored.insert_signature(id, &kept).unwrap();
        assert_eq!(restored.signature_of(id).unwrap(), kept);
        assert_eq!(index.query_signature(&kept, 1).unwrap()[0].keyframe, id);
    }
    for image in &images {
        assert_eq!(restored.scores(image).unwrap(), index.scores(image).unwrap());
    }
    assert_eq!(index.signature_of(KeyframeId(9)), None);
    let kept = index.signature_of(KeyframeId(0)).unwrap();
    let mut others = words_of(&images[1..]).emptied();
    assert!(others.insert_signature(KeyframeId(0), &kept).is_err());
    for spoilt in [&kept[..kept.len() - 1], &kept[4..], &[0.5; 12], &[]] {
        assert!(restored.insert_signature(KeyframeId(7), spoilt).is_err());
    }
}

/// An image is looked at once, to look for it and to remember it.
#[test]
fn what_an_image_looks_like_serves_both_to_find_and_to_remember_it() {
    let images: Vec<_> = (0..6).map(|i| numbers(60 * 16, i)).collect();
    let by_words = words_of(&images);
    let mut pooled = RetrievalIndex::new(16);
    for (id, image) in (0..).zip(&images) {
        pooled.insert(KeyframeId(id), image).unwrap();
    }
    let codebook = by_words.codebook().clone();
    for (codebook, expected) in [
        (Some(codebook), by_words.query(&images[2], 4, |id| id.0 == 1).unwrap()),
        (None, pooled.query(&images[2], 4, |id| id.0 == 1).unwrap()),
    ] {
        let mut index = PlaceIndex::new(16, codebook);
        let seen: Vec<Appearance> = images.iter().map(|i| index.appearance(i).unwrap()).collect();
        for (id, seen) in (0..).zip(&seen) {
            index.insert(KeyframeId(id), seen).unwrap();
        }
        assert_eq!(index.query(&seen[2], 4, |id| id.0 == 1).unwrap(), expected);
    }
}

#[test]
fn what_another_index_has_seen_is_refused() {
    let image = numbers(60 * 16, 1);
    let mut words = PlaceIndex::Words(words_of(std::slice::from_ref(&image)));
    let mut pooled = PlaceIndex::new(16, None);
    let (by_words, by_all) =
        (words.appearance(&image).unwrap(), pooled.appearance(&image).unwrap());
    assert!(
        words.insert(KeyframeId(1), &by_all).is_err()
            && words.query(&by_all, 1, |_| false).is_err()
    );
    assert!(pooled.insert(KeyframeId(1), &by_words).is_err());
    let Appearance::Words(seen) = by_words else { panic!("not by words") };
    let spoil: [fn(&mut Vec<u32>); 3] = [|w| w.reverse(), |w| w[0] = 1 << 20, |w| w.truncate(3)];
    for spoil in spoil {
        let mut other = seen.clone();
        spoil(&mut other.known.words);
        assert!(words.insert(KeyframeId(1), &Appearance::Words(other)).is_err());
    }
}
