//! Policies and records as domains publish them, and as they should not.

use super::*;

fn parse(text: &str) -> Result<StsPolicy, StsPolicyError> {
    StsPolicy::parse(text.as_bytes())
}

/// R8461-3.2a, R8461-3.2c.
#[test]
fn a_policy_is_read_in_either_kind_of_lines() {
    let text = "version: STSv1\r\nmode: enforce\r\nmx: mx1.Example.com\r\nmx: *.example.net\r\n\
                max_age: 1296000\r\n";
    let policy = parse(text).unwrap();
    assert_eq!(policy.mode, StsMode::Enforce);
    let patterns: Vec<_> = policy.mx.iter().map(MxPattern::as_str).collect();
    assert_eq!(patterns, ["mx1.example.com", "*.example.net"]);
    assert_eq!(policy.max_age, Duration::from_secs(1_296_000));
    assert_eq!(parse(&text.replace("\r\n", "\n")), Ok(policy.clone()));
    assert_eq!(parse(text.trim_end()), Ok(policy.clone()));
    let odd = "mode:enforce\nfuture-key: x\nversion:\tSTSv1 \n\nmode: none\nmax_age: 1296000\n\
               max_age: 1\nmx:mx1.example.com\nmx: *.example.net\n";
    assert_eq!(parse(odd), Ok(policy));
    let long = parse("version: STSv1\nmode: testing\nmx: a.example\nmax_age: 9999999999\n");
    assert_eq!(long.unwrap().max_age, MAX_AGE_MOST);
    let none = parse("version: STSv1\nmode: none\nmax_age: 60\n").unwrap();
    assert_eq!((none.mode, none.mx.len()), (StsMode::None, 0));
}

#[test]
fn what_is_no_policy_is_told_apart() {
    use StsPolicyError::{Line, Missing, Value};
    let good = "version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 60\n";
    assert!(parse(good).is_ok());
    for (text, expected) in [
        ("", Missing("version")),
        ("<html><body>Not found</body></html>", Line(1)),
        (&good.replace("version: STSv1\n", ""), Missing("version")),
        (&good.replace("STSv1", "STSv2"), Value("version")),
        (&good.replace("mode: enforce\n", ""), Missing("mode")),
        (&good.replace("enforce", "Enforce"), Value("mode")),
        (&good.replace("max_age: 60\n", ""), Missing("max_age")),
        (&good.replace("60", "-1"), Value("max_age")),
        (&good.replace("60", ""), Value("max_age")),
        (&good.replace("60", "12345678901"), Value("max_age")),
        (&good.replace("mx: a.example\n", ""), Missing("mx")),
        (&good.replace("a.example", "a..example"), Value("mx")),
        (&good.replace("a.example", "*.*.example"), Value("mx")),
        (&good.replace("a.example", "*"), Value("mx")),
        (&good.replace("a.example", "[192.0.2.1]"), Value("mx")),
        (&format!("{good}nonsense\n"), Line(5)),
    ] {
        assert_eq!(parse(text), Err(expected), "{text:?}");
    }
    assert_eq!(StsPolicy::parse(b"\xff"), Err(StsPolicyError::NotText));
    let long = format!("{good}{}", "x: y\n".repeat(POLICY_MOST / 5));
    assert_eq!(parse(&long), Err(StsPolicyError::TooLong));
    let many = format!("{good}{}", "mx: b.example\n".repeat(PATTERNS_MOST));
    assert_eq!(parse(&many), Err(StsPolicyError::TooManyHosts));
}

/// R8461-4.1a.
#[test]
fn a_star_stands_for_one_label() {
    let policy = parse(
        "version: STSv1\nmode: enforce\nmx: mx.example.com\nmx: *.example.net\nmax_age: 60\n",
    );
    let policy = policy.unwrap();
    for (host, permitted) in [
        ("mx.example.com", true),
        ("MX.Example.COM", true),
        ("a.example.net", true),
        ("b.example.com", false),
        ("a.mx.example.com", false),
        ("example.net", false),
        ("a.b.example.net", false),
        ("aexample.net", false),
        ("[192.0.2.1]", false),
    ] {
        let host = Domain::parse(host).unwrap();
        assert_eq!(policy.permits(&host), permitted, "{host}");
    }
}

/// R8461-3.1a.
#[test]
fn exactly_one_record_gives_the_id() {
    for (records, expected) in [
        (
            &["v=STSv1; id=20160831085700Z;"][..],
            Some("20160831085700Z"),
        ),
        (&["v=STSv1;id=a"], Some("a")),
        (&["v=STSv1 ; other=x ; id=b1 ; "], Some("b1")),
        (&["v=spf1 -all", "v=STSv1; id=c"], Some("c")),
        (&["v=STSv1; id=a", "v=STSv1; id=b"], None),
        (&["v=STSv1; id=a; id=b"], Some("a")),
        (&["v=STSv1;"], None),
        (&["v=STSv1; id="], None),
        (&["v=STSv1; id=a-b"], None),
        (&["v=STSv1; id=123456789012345678901234567890123"], None),
        (&["v=STSv10; id=a"], None),
        (&[" v=STSv1; id=a"], None),
        (&["id=a; v=STSv1;"], None),
        (&[], None),
    ] {
        assert_eq!(policy_id(records.iter().copied()), expected, "{records:?}");
    }
}
