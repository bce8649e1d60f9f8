"""Proxy-Wasm 0.1.0, 0.2.0 and 0.2.1: filters for Envoy, nginx, Istio and others, as they are."""
