"""Tests of the engines that run guests."""
