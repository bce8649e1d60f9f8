"""What decides about flows and messages: filters and rules. Values in, verdicts out; no IO."""
