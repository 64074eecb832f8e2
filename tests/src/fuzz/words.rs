//! The words of each language that is fuzzed, and what is odd in it.

/// Words of definitions.
#[rustfmt::skip]
pub const DEFINITION_WORDS: [&str; 84] = [
    "workflow", "input", "constants", "nodes", "output", "timeout_ms", "function", "command", "compute", "switch",
    "when", "then", "default", "foreach", "list", "from", "to", "batch", "parallelism", "after", "join", "all", "any",
    "at_least", "retry", "attempts", "backoff_ms", "backoff_max_ms", "factor", "jitter", "on", "catch", "delay_ms",
    "delay_until", "2030-01-01T00:00:00Z",
    "resources", "memory_mib", "scale", "cpus", "profile", "runtime_ms", "output_bytes", "placeholder", "kind",
    "bytes", "value", "optional", "first_of(a.out, b.out)", "first_of", "text", "item", "error", "constant",
    "constant.limit", "input.text", "true", "false", "null", "~", "[]", "{}", "|", ">", "&a", "*a", "<<: *a", "!!str",
    "---", "...", "\t", "\u{feff}", "\u{2028}", "é", "\0", "{ from: 0, to: 3 }", "{ list: item }", "a: *a", "? [",
    "'", "\"", "#", "trust", "sandbox", "{input.a}",
];

/// Words of expressions.
#[rustfmt::skip]
pub const EXPRESSION_WORDS: [&str; 66] = [
    "a.x", "a.y", "b.z", "input.n", "item", "x", "true", "false", "null", "1", "2.5", "1u", "0x7f", "1e9", "'t'",
    "b'\\xff'", "r'\\'", "'''", "\"\\u00e9\"", "(", ")", "[", "]", "{", "}", ",", ".", ":", "?", " ? ", " : ", "&&",
    "||", "!", "==", "!=", "<", "<=", ">", ">=", " in ", "+", "-", "*", "/", "%", ".map(e, e)", ".all(e, e > 0)",
    ".exists(e, e)", ".filter(e, e)", "has(a.x)", "size(", ".size()", ".matches('(a*)*b')", "int(", "string(",
    "timestamp('2024-01-01T00:00:00Z')", "duration('1h')", ".getFullYear()", ".contains('x')", "\n", "//",
    ".partition(2)", "range(0, 9, 2)", "toBase64('t')", "fromBase64('dA==')",
];

/// Words of the published system's files.
#[rustfmt::skip]
pub const FAASFLOW_WORDS: [&str; 40] = [
    "global_input", "functions", "name", "source", "runtime", "scale", "mem_usage", "input", "output", "next", "type",
    "nodes", "value", "function", "parameter", "size", "INPUT", "pass", "key", "keys", "normal", "foreach", "switch",
    "conditions", "default", "merge", "virtual", "virtual1", "split_ratio", "x > 3", "not a", "a and b or c",
    "a == 'b'", "True", "None", "lambda: 1", "[]", "{}", "0.0", "-1",
];

/// Words of WfFormat.
#[rustfmt::skip]
pub const WFFORMAT_WORDS: [&str; 40] = [
    "\"name\"", "\"schemaVersion\"", "\"1.0\"", "\"1.3\"", "\"1.4\"", "\"1.5\"", "\"workflow\"", "\"specification\"",
    "\"execution\"", "\"tasks\"", "\"jobs\"", "\"files\"", "\"id\"", "\"parents\"", "\"children\"", "\"inputFiles\"",
    "\"outputFiles\"", "\"sizeInBytes\"", "\"size\"", "\"link\"", "\"input\"", "\"output\"", "\"runtimeInSeconds\"",
    "\"runtime\"", "\"cores\"", "\"coreCount\"", "\"memoryInBytes\"", "\"memory\"", "\"command\"", "\"program\"",
    "\"arguments\"", "\"machines\"", "\"makespan\"", "null", "[]", "{}", "\"\"", "\"\\ud800\"", "1e400", "true",
];

/// Words of the Amazon States Language.
#[rustfmt::skip]
pub const ASL_WORDS: [&str; 95] = [
    "\"Comment\"", "\"StartAt\"", "\"States\"", "\"Type\"", "\"Task\"", "\"Pass\"", "\"Choice\"", "\"Parallel\"",
    "\"Map\"", "\"Wait\"", "\"Succeed\"", "\"Fail\"", "\"Next\"", "\"End\": true", "\"Resource\"", "\"Retry\"",
    "\"Catch\"", "\"ErrorEquals\"", "\"States.ALL\"", "\"States.Timeout\"", "\"States.TaskFailed\"",
    "\"IntervalSeconds\"", "\"MaxAttempts\"", "\"BackoffRate\"", "\"MaxDelaySeconds\"", "\"JitterStrategy\"",
    "\"InputPath\"", "\"OutputPath\"", "\"ResultPath\"", "\"ResultSelector\"", "\"Parameters\"", "\"Result\"",
    "\"Choices\"", "\"Default\"", "\"Variable\"", "\"And\"", "\"Or\"", "\"Not\"", "\"StringEquals\"",
    "\"NumericLessThan\"", "\"BooleanEquals\"", "\"IsPresent\"", "\"IsNull\"", "\"IsTimestamp\"",
    "\"TimestampEquals\"", "\"StringMatches\"", "\"NumericEqualsPath\"", "\"Branches\"", "\"Iterator\"",
    "\"ItemProcessor\"", "\"ItemsPath\"", "\"ItemSelector\"", "\"MaxConcurrency\"", "\"Seconds\"", "\"SecondsPath\"",
    "\"Timestamp\"", "\"TimestampPath\"", "\"TimeoutSeconds\"", "\"HeartbeatSeconds\"", "\"Error\"", "\"Cause\"",
    "\"ErrorPath\"", "\"QueryLanguage\"", "\"JSONata\"", "\"$\"", "\"$.a\"", "\"$.a.b[0]\"", "\"$['a']\"", "\"$..a\"",
    "\"$.a[*]\"", "\"$$\"", "\"$$.Map.Item.Value\"", "\"$$.Execution.Id\"", "\"x.$\"", "\"States.Format('{}', $.a)\"",
    "\"States.Array(1, $.a)\"", "\"States.MathAdd($.a, 1)\"", "\"States.JsonToString($)\"",
    "\"States.StringToJson($.a)\"", "\"States.ArrayRange(0, 10, 2)\"", "\"States.UUID()\"",
    "\"States.ArrayPartition($.a, 2)\"", "\"States.Base64Encode($.a)\"", "\"States.Hash($.a, 'MD5')\"",
    "\"States.ArrayRange($.a, $.b, -1)\"", "\"States.Base64Decode($.a)\"", "\"$$.Map.Item.Index\"", "null",
    "true", "[]", "{}", "\"\"", "\"2024-01-01T00:00:00Z\"", "0", "\"\\u0000\"",
];
