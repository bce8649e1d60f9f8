"""The nouns: flows, messages, connections, verdicts. Plain values, no IO."""
