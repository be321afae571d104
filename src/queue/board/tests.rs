//! Turns, shares and places.

use std::time::Duration;

use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

fn entry(job: u32, class: Class) -> Entry<u32> {
    Entry {
        job,
        urgency: Urgency::Again,
        priority: Priority::default(),
        class,
        at_once: 2,
    }
}

fn push(board: &mut Board<u32>, hop: &str, job: u32) {
    board.push(&hop.into(), entry(job, Class::Proven));
}

fn taken(board: &mut Board<u32>, in_all: usize) -> Vec<u32> {
    std::iter::from_fn(|| board.take(in_all, at(0)))
        .map(|(_, job)| job)
        .collect()
}

#[test]
fn next_hops_take_turns_within_their_bounds() {
    let mut board = Board::new();
    for job in 0..5 {
        push(&mut board, "slow", job);
    }
    push(&mut board, "living", 10);
    push(&mut board, "other", 20);
    assert_eq!(taken(&mut board, 4), [0, 10, 20, 1]);
    assert_eq!((board.waiting(), board.active()), (3, 4));
    board.finished("living", at(0));
    assert!(taken(&mut board, 4).is_empty(), "slow is at its bound");
    push(&mut board, "living", 11);
    assert_eq!(taken(&mut board, 4), [11]);
    board.finished("slow", at(0));
    assert_eq!(taken(&mut board, 4), [2]);
}

#[test]
fn every_job_is_taken_once() {
    let mut board = Board::new();
    for job in 0..300 {
        let class = Class::ALL[job as usize % 3];
        board.push(&format!("hop{}", job % 21).into(), entry(job, class));
    }
    let mut seen = Vec::new();
    while let Some((hop, job)) = board.take(4, at(0)) {
        seen.push(job);
        board.finished(&hop, at(0));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..300).collect::<Vec<_>>());
    assert!(board.lines.is_empty(), "a hop without work is remembered");
    assert_eq!((board.waiting(), board.active()), (0, 0));
}

#[test]
fn drained_jobs_wait_no_more() {
    let mut board = Board::new();
    for job in 0..4 {
        push(&mut board, "a", job);
    }
    assert_eq!(taken(&mut board, 4), [0, 1]);
    assert_eq!(board.drain(), [2, 3]);
    assert_eq!((board.waiting(), board.active()), (0, 2));
    board.finished("a", at(0));
    board.finished("a", at(0));
    assert!(taken(&mut board, 4).is_empty());
    assert!(board.lines.is_empty());
}

#[test]
fn those_who_never_answered_leave_places_to_those_who_do() {
    let mut board = Board::new();
    for job in 0..1_000 {
        let class = match job % 2 {
            0 => Class::Unproven,
            _ => Class::Suspect,
        };
        board.push(&format!("dead{job}").into(), entry(job, class));
    }
    let begun = taken(&mut board, 64);
    assert_eq!(begun.len(), 48);
    assert_eq!(begun.iter().filter(|job| *job % 2 == 1).count(), 16);
    for job in 0..20 {
        push(&mut board, &format!("living{}", job % 10), 10_000 + job);
    }
    let begun = taken(&mut board, 64);
    assert_eq!(begun.len(), 16, "{begun:?}");
    assert!(begun.iter().all(|job| *job >= 10_000));
}

#[test]
fn those_who_answer_do_not_keep_newcomers_out() {
    let mut board = Board::new();
    for job in 0..200 {
        push(&mut board, &format!("living{job}"), job);
    }
    board.push(&"new".into(), entry(1_000, Class::Unproven));
    assert!(taken(&mut board, 64).contains(&1_000));
}

#[test]
fn a_suspect_is_tried_with_one_job() {
    let mut board = Board::new();
    for job in 0..5 {
        board.push(&"dead".into(), entry(job, Class::Suspect));
    }
    assert_eq!(taken(&mut board, 64), [0]);
    board.reclass("dead", Class::Proven);
    board.finished("dead", at(0));
    assert_eq!(taken(&mut board, 64), [1, 2]);
    assert_eq!((board.waiting(), board.active()), (2, 2));
}

#[test]
fn fresh_mail_goes_first_but_not_for_ever() {
    let mut board = Board::new();
    for job in 0..6 {
        push(&mut board, "a", job);
    }
    for job in 10..16 {
        let fresh = Entry {
            urgency: Urgency::Fresh,
            ..entry(job, Class::Proven)
        };
        board.push(&"a".into(), fresh);
    }
    let mut order = Vec::new();
    while let Some((hop, job)) = board.take(1, at(0)) {
        order.push(job);
        board.finished(&hop, at(0));
    }
    assert_eq!(order, [10, 11, 12, 0, 13, 14, 15, 1, 2, 3, 4, 5]);
}

#[test]
fn a_crowded_hop_gives_times_as_far_apart_as_it_works() {
    let mut board = Board::new();
    for job in 0..5 {
        push(&mut board, "slow", job);
    }
    for second in (0..600).step_by(3) {
        assert!(board.take(4, at(second)).is_some());
        push(&mut board, "slow", 0);
        board.finished("slow", at(second + 3));
    }
    for job in 0..5 {
        push(&mut board, "quick", job);
    }
    assert!(board.is_crowded("slow", Class::Proven, 20, at(600)));
    assert!(
        !board.is_crowded("slow", Class::Proven, 200, at(600)),
        "it has few places"
    );
    assert!(
        !board.is_crowded("quick", Class::Proven, 20, at(600)),
        "it will be through soon"
    );
    let first = board.later("slow", at(600));
    let second = board.later("slow", at(600));
    let in_all = first.duration_since(at(600)).unwrap();
    assert!(
        in_all.abs_diff(Duration::from_millis(7_500)) < Duration::from_millis(1_000),
        "half of five jobs, three seconds each: {in_all:?}"
    );
    let apart = second.duration_since(first).unwrap();
    assert!(
        apart.abs_diff(Duration::from_secs(3)) < Duration::from_millis(500),
        "{apart:?}"
    );
    for _ in 0..1_000 {
        assert!(board.later("slow", at(600)) <= at(1_500));
    }
}

#[test]
fn a_new_hop_alone_may_fill_most_of_the_room_until_it_is_known() {
    let mut board = Board::new();
    for job in 0..15 {
        board.push(&"new".into(), entry(job, Class::Unproven));
    }
    assert!(board.take(4, at(0)).is_some());
    assert!(!board.is_crowded("new", Class::Unproven, 20, at(0)));
    assert_eq!(board.brisk(at(0)), 14, "its places may soon be free");
    board.push(&"new".into(), entry(15, Class::Unproven));
    assert!(board.is_crowded("new", Class::Unproven, 20, at(0)));
    assert_eq!(board.later("new", at(0)), at(1));
    // Nothing came of its first attempt.
    assert_eq!(board.brisk(at(3)), 0);
    assert_eq!(board.later("new", at(3)), at(8));
}

#[test]
fn a_new_hop_beside_others_of_its_kind_has_a_share() {
    let mut board = Board::new();
    for job in 0..6 {
        board.push(&"new".into(), entry(job, Class::Unproven));
    }
    board.push(&"other".into(), entry(6, Class::Unproven));
    assert!(board.take(4, at(0)).is_some());
    assert!(board.is_crowded("new", Class::Unproven, 20, at(0)));
    assert_eq!(board.brisk(at(0)), 0);
}

#[test]
fn unknown_hops_fill_half_of_the_room_at_most() {
    let mut board = Board::new();
    for job in 0..9 {
        board.push(
            &format!("new{}", job % 3).into(),
            entry(job, Class::Unproven),
        );
    }
    assert!(!board.is_crowded("new1", Class::Unproven, 20, at(0)));
    board.push(&"new".into(), entry(9, Class::Suspect));
    assert!(board.is_crowded("new1", Class::Unproven, 20, at(0)));
    assert!(
        !board.is_crowded("another", Class::Unproven, 20, at(0)),
        "a newcomer"
    );
    assert!(!board.is_crowded("another", Class::Proven, 20, at(0)));
    assert_eq!((board.waiting(), board.brisk(at(0))), (10, 0));
}

#[test]
fn places_where_nothing_moves_are_made_up_for() {
    let mut board = Board::new();
    for job in 0..20 {
        push(&mut board, &format!("hangs{}", job % 4), job);
    }
    assert_eq!(board.take(8, at(0)).map(|(_, job)| job), Some(0));
    while board.take(8, at(0)).is_some() {}
    assert_eq!(board.active(), 8);
    for job in 100..104 {
        push(&mut board, &format!("living{job}"), job);
    }
    assert!(board.take(8, at(1)).is_none(), "they may yet move");
    let begun: Vec<_> = std::iter::from_fn(|| board.take(8, at(3))).collect();
    assert!(begun.iter().all(|(_, job)| *job >= 100), "{begun:?}");
    assert_eq!(begun.len(), 4);
}

#[test]
fn a_hop_that_answers_leaves_the_queue_of_the_dead() {
    let mut board = Board::new();
    for job in 0..200 {
        board.push(&format!("dead{job}").into(), entry(job, Class::Unproven));
    }
    for job in 1_000..1_009 {
        board.push(&"back".into(), entry(job, Class::Unproven));
    }
    let begun = taken(&mut board, 64);
    assert_eq!(begun.len(), 32, "no more than the share of the unknown");
    board.reclass("back", Class::Proven);
    assert!(taken(&mut board, 64).iter().all(|job| *job >= 1_000));
    assert_eq!(board.active(), 34);
}

#[test]
fn names_of_drained_hops_do_not_pile_up() {
    let mut board = Board::new();
    for job in 0..1_000 {
        board.push(&"dead".into(), entry(job, Class::Suspect));
        assert_eq!(board.drain_one("dead").len(), 1);
    }
    assert!(board.rounds.iter().all(BTreeMap::is_empty));
}

/// R6710-5.1a.
#[test]
fn what_is_more_urgent_goes_first() {
    let mut board = Board::new();
    let urgent = |job, priority, urgency| Entry {
        priority: Priority::new(priority).unwrap(),
        urgency,
        ..entry(job, Class::Proven)
    };
    for (hop, job, priority, urgency) in [
        ("a", 1, 0, Urgency::Fresh),
        ("a", 2, -4, Urgency::Fresh),
        ("a", 3, 0, Urgency::Fresh),
        ("b", 4, -4, Urgency::Fresh),
        ("b", 5, 2, Urgency::Again),
        ("a", 6, 6, Urgency::Again),
        ("b", 7, 2, Urgency::Fresh),
        ("c", 8, 4, Urgency::Fresh),
    ] {
        board.push(&hop.into(), urgent(job, priority, urgency));
    }
    let mut order = Vec::new();
    while let Some((hop, job)) = board.take(1, at(0)) {
        order.push(job);
        board.finished(&hop, at(0));
    }
    assert_eq!(order, [6, 8, 7, 5, 1, 3, 4, 2]);
    assert_eq!((board.waiting(), board.active()), (0, 0));
}
