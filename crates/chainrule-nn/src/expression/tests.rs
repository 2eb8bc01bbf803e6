use super::*;

#[test]
fn as_python_matches() {
    let path = "bert.encoder.layer.10.attention.self.query";
    let matching = r".*\.(query|value) ^(?!.*vision).*layer\.(?:[0-9]|1[01])\..*que\w+$ bert(?=\.enc).* .*(?<=self)\.query (?:(?!decoder).)*query
        (?i)BERT\..*QUERY [^.]+(\.[^.]+){6} \w+(\.\w+){2,}? .*?\.\d{1,2}\..* .*\blayer\b.* (?P<base>bert)[.a-z]*\.10[.a-z]+ ((a*)*)*.*
        a|b|c|.*query|d";
    let other = r"query ^(?!.*encoder).*query bert(?=\.dec).* .*(?<!self)\.query BERT.* [^.]+(\.[^.]+){5} .*\.layer\.1\b.* a|b|c";
    for (list, expected) in [(matching, true), (other, false)] {
        for expression in list.split_whitespace() {
            assert_eq!(Expression::new(expression).unwrap().matches(path), expected, "{expression}");
        }
    }
    assert!(Expression::new("a{2").unwrap().matches("a{2") && Expression::new("[]a-]+").unwrap().matches("]-a"));
    assert!(Expression::new("").unwrap().matches("") && Expression::new("a{0}b{,2}").unwrap().matches("bb"));
}

#[test]
fn what_cannot_be_read_or_would_take_long() {
    for wrong in ["a)(b", "(a", "[z-a]", "[a", "*", "a**", "a*+", r"(a)\1", "(?>a)", "a\\", "((a{99}){99}){99}", "a{3,2}", &"(".repeat(1000)] {
        assert!(Expression::new(wrong).is_err(), "{wrong}");
    }
    // A class is a step, and as long as what stands in it.
    assert!(Expression::new(&format!("[{}]{{49}}", "ab".repeat(4000))).is_err());
    assert!(Expression::new(&format!("[{}]{{5}}", "ab".repeat(4000))).unwrap().matches("abbab"));
    let slow = Expression::new("(a|aa)*(a|aa)*(a|aa)*b").unwrap();
    assert!(!slow.matches(&"a".repeat(500)));
    let nested = format!("{}b{}", "(?=.*".repeat(30), ")".repeat(30));
    assert!(!Expression::new(&nested).unwrap().matches(&"a".repeat(60)));
    assert!(Expression::new(&format!("{nested}.*")).unwrap().matches(&"ab".repeat(30)));
    assert!(Expression::new(r"(?=.*(?<!(?=a)a)b).*").unwrap().matches("abb") && !Expression::new(r".*(?!(?<=a)b)b").unwrap().matches("ab"));
    assert!(Expression::new(&vec!["encoder.layer"; 3000].join("|")).unwrap().matches("encoder.layer"));
}

proptest::proptest! {
    /// Against another machine, on what both understand.
    #[test]
    fn as_another_machine_matches(expression in "[ab.|()*+?]{0,9}", text in "[ab]{0,7}") {
        let held = regex_lite::Regex::new(&expression).and_then(|_| regex_lite::Regex::new(&format!("^(?:{expression})$")));
        if let (Ok(ours), Ok(theirs)) = (Expression::new(&expression), held) {
            proptest::prop_assert_eq!(ours.matches(&text), theirs.is_match(&text), "{}", expression);
        }
    }
}
