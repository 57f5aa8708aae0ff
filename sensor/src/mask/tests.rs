#[path = "../../../sensor-common/src/mask/tests/cards.rs"]
mod cards;
#[path = "../../../sensor-common/src/mask/tests/kinds.rs"]
mod kinds;
mod linear;

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::config::{CustomRule, Mask};

fn masker() -> &'static Masker {
    static MASKER: LazyLock<Masker> = LazyLock::new(|| Masker::new(&Mask::default()).unwrap());
    &MASKER
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    let masker = masker();
    for (text, clean) in cases {
        assert_eq!(masker.text(text), *clean, "{text}");
        assert_eq!(masker.text(clean), *clean, "masked again");
    }
}

#[track_caller]
fn stays(texts: &[&str]) {
    let masker = masker();
    for text in texts {
        assert!(
            matches!(masker.text(text), Cow::Borrowed(same) if same == *text),
            "{text}: {}",
            masker.text(text)
        );
    }
}

#[test]
fn cards() {
    check(&[
        ("pay 4111 1111 1111 1111", "pay 4111 11** **** 1111"),
        ("카드４１１１１１１１１１１１１１１１번", "카드４１１１１１＊＊＊＊＊＊１１１１번"),
        ("４１１１－１１１１－１１１１－１１１１", "４１１１－１１＊＊－＊＊＊＊－１１１１"),
        (r#"{"pan":4111111111111111,"n":1}"#, r#"{"pan":"411111******1111","n":1}"#),
        (r#"{"pan": "4111111111111111"}"#, r#"{"pan": "411111******1111"}"#),
        (
            r#"{"pans":[4111111111111111, 5555555555554444]}"#,
            r#"{"pans":["411111******1111", "555555******4444"]}"#,
        ),
        (r#"{"pan":411111******1111}"#, r#"{"pan":"411111******1111"}"#),
        ("%B4111111111111111^KIM/MINSU^27122010000000?", "%B411111******1111^***?"),
        (";4111111111111111=27122010000012345?", ";411111******1111=***?"),
    ]);
}

#[test]
fn persons() {
    check(&[
        ("rrn 900101-1234567.", "rrn 900101-1******."),
        ("주민 9001011234567", "주민 9001011******"),
        ("tel=010-1234-5678", "tel=010-****-5678"),
        ("tel=01012345678,", "tel=010****5678,"),
        ("+82-10-1234-5678", "+82-10-****-5678"),
        ("02-123-4567 070-1234-5678", "02-***-4567 070-****-5678"),
        ("to minsu.kim@pay.example.com", "to m***@pay.example.com"),
        ("/u?mail=minsu%40pay.example", "/u?mail=m***%40pay.example"),
        ("계좌번호: 110-123-456789", "계좌번호: ***-***-**6789"),
        (r#""accountNumber":"11012345678901""#, r#""accountNumber":"**********8901""#),
    ]);
    stays(&[
        "901332-1234567",
        "1701123456789 ms",
        "123-45-67890",
        "110-123-456789",
        "2026-11-23 01:02:03.123456",
        "user@host",
        "id=8210123456789012",
    ]);
}

#[test]
fn secrets() {
    check(&[
        (r#"{"password":"a\"b,c","n":1}"#, r#"{"password":"***","n":1}"#),
        (r#"{"cvv":123,"pin": 1234}"#, r#"{"cvv":"***","pin": "***"}"#),
        (r#"{"body":"{\"password\":\"x y\",\"n\":1}"}"#, r#"{"body":"{\"password\":\"***\",\"n\":1}"}"#),
        ("user=a&access_token=abc&x=1", "user=a&access_token=***&x=1"),
        ("db.password=hush next", "db.password=*** next"),
        ("비밀번호: 1234", "비밀번호: ***"),
        ("client_secret='a b'", "client_secret='***'"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("authorization=Basic dXNlcjpwYXNz", "authorization=Basic ***"),
        ("sent bearer abcdefghijk ok", "sent bearer *** ok"),
        ("Cookie: a=1; b=2", "Cookie: ***"),
        (r#"{"set-cookie":"a=1; Path=/","n":2}"#, r#"{"set-cookie":"***","n":2}"#),
        ("got eyJhbGciOi.eyJzdWIiOi.c2ln", "got eyJ***"),
        ("key AKIAIOSFODNN7EXAMPLE", "key AKIAIOSF************"),
    ]);
    stays(&[
        "tokens=5",
        "token_count: 7",
        r#"{"token":null,"secret":false}"#,
        "ping=3 mapping=4 pinned: 5",
        "secretary: Kim",
        "no cookies",
        r#"{"token":{"kind":"a"}}"#,
    ]);
}

#[test]
fn fields_by_name() {
    let masker = Masker::new(&Mask::default()).unwrap();
    assert_eq!(masker.field("X-Api-Key", "abc"), "***");
    assert_eq!(masker.field("authorization", "abc"), "***");
    assert_eq!(masker.field("user", "a@b.example"), "a***@b.example");
    assert_eq!(masker.field("pinned", "yes"), "yes");
    assert_eq!(masker.counts().all().find(|(name, _)| *name == "secret").unwrap().1, 2);
}

#[test]
fn json_stays_json() {
    let masker = masker();
    for text in [
        r#"{"card":4111111111111111,"cvc":123,"a":[4111111111111111],"password":"\\\"x","t":"eyJhbGciOi.eyJzdWIiOi.x","e":"a@b.example"}"#,
        r#"{"token":"abc\\","rrn":9001011234567,"phone":"01012345678","x":{"secret":1.5e3}}"#,
        r#"[4111111111111111,{"Cookie":"a=\"1\"; b"}]"#,
    ] {
        let clean = masker.text(text);
        serde_json::from_str::<serde_json::Value>(&clean).unwrap_or_else(|error| panic!("{clean}: {error}"));
        assert!(!clean.contains("4111111111111111"));
    }
}

fn custom(name: &str, regex: &str) -> CustomRule {
    CustomRule {
        name: name.to_owned(),
        regex: regex.to_owned(),
        replacement: None,
        keep_first: None,
        keep_last: None,
    }
}

#[test]
fn the_users_rules() {
    let rules = vec![
        CustomRule { keep_last: Some(2), ..custom("member", r"M-\d{6}") },
        CustomRule { replacement: Some("${1}#".to_owned()), ..custom("coupon", r"(CP)[A-Z0-9]+") },
    ];
    let masker = Masker::new(&Mask { custom: rules, ..Mask::default() }).unwrap();
    assert_eq!(masker.text("M-123456 CP12AB"), "******56 CP#");
    let counts: Vec<_> = masker.counts().all().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counts, [("member", 1), ("coupon", 1)]);
}

#[test]
fn rules_that_cannot_work_are_refused() {
    let refused = |rule: CustomRule| {
        let error = Masker::new(&Mask { custom: vec![rule], ..Mask::default() }).err().expect("an error");
        format!("{}: {}", error.name, error.allowed)
    };
    assert!(
        refused(custom("a", "(")).starts_with("a: a list of rules whose `regex` compiles; regex parse error")
    );
    assert!(refused(custom("a", "x*")).contains("does not match the empty text"));
    assert!(refused(custom("a b", "x")).contains("1 to 64 letters"));
    assert!(refused(custom("card", "x")).contains("a name of its own"));
    let both = CustomRule { replacement: Some(String::new()), keep_first: Some(1), ..custom("a", "x") };
    assert!(refused(both).contains("either `replacement`"));
}

#[test]
fn names_have_no_cards() {
    assert_eq!(without_cards("pay-4111111111111111.jar"), "pay-411111******1111.jar");
    assert_eq!(without_cards("카드.py"), "카드.py");
}

#[test]
fn an_exchange_has_no_cards() {
    let text = || "a-4111111111111111".to_owned();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-6011000990139424-01";
    let mut exchange = Exchange {
        method: Cow::Owned(text()),
        path: Some(text()),
        query: Some(text()),
        host: Some(text()),
        request_headers: vec![("user-agent", text()), ("traceparent", trace.to_owned())],
        ..crate::metric::fixture::exchange()
    };
    masker().exchange(&mut exchange, &mut Clean::default());
    let told = format!("{exchange:?}");
    assert_eq!(told.matches("a-411111******1111").count(), 5, "{told}");
    assert!(!told.contains("4111111111111111") && told.contains(trace), "{told}");
}

#[test]
fn the_gate_finds_what_is_left() {
    let mut payload = b"\x00\x12line 4111111111111111\xff 5555-5555-5555-4444".to_vec();
    assert_eq!(gate(&mut payload), 2);
    assert_eq!(payload, b"\x00\x12line 411111******1111\xff 5555-55**-****-4444");
    assert_eq!(gate(&mut payload), 0);
}

#[test]
fn long_and_broken_lines() {
    let masker = masker();
    for digits in ["7", "4111111111111111", "4111 1111 1111 1111 ", "010-1234-5678,"] {
        let digits: String = digits.chars().cycle().take(100_000).collect();
        let clean = masker.text(&digits);
        assert_eq!(clean.len(), digits.len());
        assert!(!clean.contains("4111111111111111") && !clean.contains("4111 1111 1111 1111"));
    }
    let mut line = vec![b'x'; 1 << 20];
    line.extend_from_slice(b"\xff 4111111111111111 \xc3");
    assert!(masker.bytes(&line).ends_with(b"\xff 411111******1111 \xc3"));
}

/// The numbers that the kernel's layer may not change, by the rule for cards alone.
#[test]
fn what_is_no_card_stays() {
    let alone = Mask { person: false, secret: false, ..Mask::default() };
    let mut random = kinds::Random(20_261_127);
    for (name, make) in kinds::KINDS {
        let masker = Masker::new(&alone).unwrap();
        let changed = (0..kinds::EACH).filter(|_| {
            let text = make(&mut random);
            masker.text(&text) != text
        });
        let changed = changed.count() as u64;
        assert!(changed * 1000 < kinds::EACH, "{name}: {changed} of {} changed", kinds::EACH);
    }
}

/// The text in full-width digits.
fn wide(text: &str) -> String {
    let wide = |digit: char| char::from_u32(u32::from(digit) - u32::from('0') + 0xff10).unwrap();
    text.chars().map(|one| if one.is_ascii_digit() { wide(one) } else { one }).collect()
}

proptest! {
    #[test]
    fn every_card_is_masked(
        card in prop_oneof![cards::card(), cards::unchecked()],
        separator in proptest::sample::select(&cards::SEPARATORS[..]),
        before in "[a-zA-Z_ =:\"{&?/가-힣]{0,40}", after in "([g-z_=:\"}&/가-힣][^0-9]{0,40})?",
    ) {
        let masker = masker();
        let written = cards::printed(&card, separator);
        for written in [written.clone(), wide(&card)] {
            let clean = masker.text(&format!("{before}{written}{after}")).into_owned();
            prop_assert!(!clean.contains(&written), "{}", clean);
            let left = clean.chars().filter(|one| one.is_ascii_digit() || ('０'..='９').contains(one)).count();
            let rest = format!("{before}{after}").chars().filter(char::is_ascii_digit).count();
            let escapes = 2 * written.matches('%').count();
            prop_assert!(left <= rest + escapes + if card.len() >= 16 { 10 } else { 4 }, "{}", clean);
        }
    }

    #[test]
    fn nothing_panics_and_json_strings_stay(text in "\\PC{0,200}") {
        let masker = masker();
        let _ = masker.text(&text);
        let line = serde_json::json!({ "password": text, "message": text, "n": 4_111_111_111_111_111_u64 }).to_string();
        let clean = masker.text(&line);
        let value: serde_json::Value =
            serde_json::from_str(&clean).map_err(|error| TestCaseError::fail(format!("{clean}: {error}")))?;
        prop_assert_eq!(&value["password"], "***");
    }
}
