"""A first API file, drafted from an OpenAPI document or from one answer, with each guess and its reason."""
