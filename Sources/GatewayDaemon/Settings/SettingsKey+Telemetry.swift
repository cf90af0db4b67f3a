// Licensed under the Apache License 2.0; see LICENSE.

extension SettingsKey {
    static let telemetry: [SettingsKey] = [
        SettingsKey(
            "telemetry", .section, .none,
            "Traces. What a call says of its trace goes on to upstreams in any case; here it is recorded too."),
        SettingsKey(
            "telemetry.otlp_endpoint", .link, .derived("nothing is recorded"),
            """
            An OpenTelemetry collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`; `/v1/traces` is \
            added unless it stands there. What it does not take in time is dropped and counted.
            """
        ),
        SettingsKey(
            "telemetry.sample_ratio", .ratio(0...1), .ratio(0.1),
            """
            The part of calls that are recorded, of those that belong to no trace yet. A call of a trace is recorded \
            when its client says so.
            """
        ),
    ]
}
