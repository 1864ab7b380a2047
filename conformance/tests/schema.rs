//! The JSON Schema of the cases says of them what the reader of the cases says: no more, no less.

use holdline_conformance::{CASES, Case, specification};
use serde_json::{Value as Json, json};

#[test]
fn every_file_is_as_the_schema_has_it() {
    let schema = schema();
    for (file, text) in CASES {
        let chapter: Json = toml::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut wrong = Vec::new();
        check(&chapter, &schema, &schema, file, &mut wrong);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn the_reader_knows_every_step_of_the_schema_and_no_other() {
    let specification = specification().expect("SPEC.md has no defect");
    let reads = |step: &str| {
        let text =
            format!("title = 't'\n[[case]]\nid = 'x-001-y'\ntitle = 't'\nreq = ['HL-0001']\nrole = 'server'\nsteps = [{step}]\n");
        Case::read_all("test", &text, &specification).map_err(|error| error.to_string())
    };
    let steps = schema()["$defs"]["step"]["properties"].as_object().cloned().expect("steps have properties");
    for key in steps.keys() {
        if let Err(error) = reads(&format!("{{ {key} = {} }}", "{}")) {
            assert!(!error.contains("unknown field"), "{key}: {error}");
        }
    }
    assert!(reads("{ dance = 'a' }").is_err_and(|error| error.contains("unknown field")));
    assert!(reads("{ send = 'a', cut = 'a' }").is_err_and(|error| error.contains("2 verbs")));
    assert!(reads("{ within = '1T' }").is_err_and(|error| error.contains("no verb")));
    assert!(reads("{ cut = 'a', split = '1' }").is_err_and(|error| error.contains("`split` means nothing")));
}

#[test]
fn the_schema_refuses_what_is_no_case() {
    let schema = schema();
    let wrong = |chapter: Json| {
        let mut wrong = Vec::new();
        check(&chapter, &schema, &schema, "", &mut wrong);
        wrong
    };
    let case = json!({"id": "x-001-y", "title": "t", "req": ["HL-0001"], "role": "server", "steps": [{"send": "A0"}]});
    assert!(wrong(json!({"title": "t", "case": [case]})).is_empty());
    for (key, value) in [("id", json!(1)), ("role", json!("peer")), ("steps", json!([{"dance": "a"}])), ("more", json!(1))] {
        let mut other = case.clone();
        other[key] = value;
        assert!(!wrong(json!({"title": "t", "case": [other]})).is_empty(), "{key}");
    }
}

fn schema() -> Json {
    serde_json::from_str(include_str!("../cases/schema.json")).expect("the schema is JSON")
}

/// As much of JSON Schema as the schema uses.
fn check(value: &Json, schema: &Json, root: &Json, at: &str, wrong: &mut Vec<String>) {
    if let Some(name) = schema.get("$ref").and_then(Json::as_str) {
        let target = name.trim_start_matches("#/").split('/').fold(root, |schema, key| &schema[key]);
        return check(value, target, root, at, wrong);
    }
    if let Some(choices) = schema.get("anyOf").and_then(Json::as_array) {
        let fits = choices.iter().any(|choice| {
            let mut wrong = Vec::new();
            check(value, choice, root, at, &mut wrong);
            wrong.is_empty()
        });
        if !fits {
            wrong.push(format!("{at}: {value} is none of what it may be"));
        }
    }
    if let Some(types) = schema.get("type") {
        let types: Vec<&str> = types
            .as_array()
            .map_or_else(|| types.as_str().into_iter().collect(), |all| all.iter().filter_map(Json::as_str).collect());
        let is = |name: &&str| match *name {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64(),
            _ => value.is_boolean(),
        };
        if !types.iter().any(is) {
            wrong.push(format!("{at}: {value} is not of the type {types:?}"));
        }
    }
    if let Some(words) = schema.get("enum").and_then(Json::as_array)
        && !words.contains(value)
    {
        wrong.push(format!("{at}: {value} is none of {words:?}"));
    }
    if let (Some(items), Some(all)) = (schema.get("items"), value.as_array()) {
        for (index, item) in all.iter().enumerate() {
            check(item, items, root, &format!("{at}/{index}"), wrong);
        }
    }
    let Some(object) = value.as_object() else { return };
    for required in schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str) {
        if !object.contains_key(required) {
            wrong.push(format!("{at}: `{required}` is missing"));
        }
    }
    for (key, inner) in object {
        match (schema.get("properties").and_then(|all| all.get(key)), schema.get("additionalProperties")) {
            (Some(property), _) => check(inner, property, root, &format!("{at}/{key}"), wrong),
            (None, Some(Json::Bool(false))) => wrong.push(format!("{at}: `{key}` is not known")),
            (None, Some(more @ Json::Object(_))) => check(inner, more, root, &format!("{at}/{key}"), wrong),
            _ => {}
        }
    }
}
