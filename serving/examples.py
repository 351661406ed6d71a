"""Example answers and parameters of every route, by operation id and by name: for the OpenAPI document."""

from typing import Any, Final

_ITEM: Final = {
    "item_id": "i1",
    "title": "Heat",
    "author": None,
    "text": "A thief and a detective.",
    "categories": ["Crime", "Drama"],
    "hidden": False,
    "stock": None,
    "published_at": None,
    "expires_at": None,
    "created_at": "2026-01-01T00:00:00Z",
    "changed_at": "2026-01-01T00:00:00Z",
    "embedded": True,
}
_WELL: Final = {"model_version": "7", "degraded": False, "fallback_reason": None}
_LISTED: Final = {"item_id": "i2", "rank": 1, "title": "Collateral"}
_LIST: Final = {
    "user_id": "u1",
    "recommendation_id": "2f1c8f0e-8f0f-4b8e-9c60-6f3a4f5d7a11",
    "items": [{**_LISTED, "score": 0.93, "source": "als", "reason": "Because you liked Heat"}],
    **_WELL,
    "took_ms": 4.1,
}
_ACCEPTED: Final = {"results": [{"event_id": "8f4f4f0e", "status": "accepted"}]}
_VERSION: Final = {
    "version": "7",
    "aliases": ["champion"],
    "digest": "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
    "run_id": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    "created_at": "2026-01-01T00:00:00Z",
    "gate": "promote",
    "gate_reasons": "ndcg@10 is better than the champion's",
    "tags": {"run": "2026-01-01T00:00:00"},
    "metrics": {"ndcg_at_10": 0.12},
    "moves": [
        {
            "at": "2026-01-01T00:00:00Z",
            "by": "airflow:ana",
            "how": "promote",
            "alias": "champion",
            "from": "6",
            "to": "7",
            "reason": "better for new users",
            "correlation_id": "scheduled__2026-01-01T03:00:00+00:00",
        }
    ],
}
_VERSIONS: Final = {"model_name": "marquee", "versions": [_VERSION]}
_HEALTH: Final = {
    "status": "ok",
    "ready": True,
    "checks": {"model": "ok", "postgres": "ok", "kafka": "ok", "registry": "ok"},
    "lacks": [],
}
_SAME: Final = {"same": True, "missing": [], "added": [], "missing_count": 0, "added_count": 0}
_USER: Final = {
    "user_id": "u1",
    "known": True,
    "as_of_us": 1767225600000000,
    "statistics_closed_at_us": 1767225600000000,
    "model_version": "7",
    "spec_hash": "1b4f0e9851971998",
    "features": [
        {"name": "user_events", "meaning": "events in the user's history", "unit": "count", "value": 12.0},
        {"name": "user_idle", "meaning": "time since the user's latest event", "unit": "days", "value": 2.5},
    ],
    "categories": [{"name": "Crime", "share": 0.6}, {"name": "Drama", "share": 0.4}],
    "history": {
        "events": 12,
        "by_action": {"view": 9, "like": 3},
        "items_seen": 11,
        "first_at": "2025-11-03T09:12:00Z",
        "last_at": "2025-12-29T12:00:00Z",
        "latest": [
            {
                "event_id": "8f4f4f0e",
                "item_id": "i1",
                "title": "Heat",
                "action": "like",
                "value": None,
                "at": "2025-12-29T12:00:00Z",
            }
        ],
    },
}
_RECORD: Final = {
    **{name: _LIST[name] for name in ("user_id", "recommendation_id", "model_version", "degraded", "fallback_reason")},
    "served_at": "2026-01-01T00:00:00Z",
    "request": {"k": 10, "kind": "feed", "exclude": ["i9"], "diversity": 0.0, "fresh_share": 0.0, "fresh_draw": 0.0},
    "bundle_digest": _VERSION["digest"],
    "spec_hash": "1b4f0e9851971998",
    "as_of_us": 1767225600000000,
    "statistics_closed_at_us": 1767225600000000,
    "own_statistics": False,
    "n_items": 3122,
    "n_allowed": 3098,
    "history_event_ids": ["8f4f4f0e"],
    "items": [{"item_id": "i2", "rank": 1, "score": 0.93, "source": "als", "reason": "Because you liked Heat"}],
    "lacking": [],
    "took_ms": {"profile": 1.2, "retrieve": 0.9, "features": 0.4, "rank": 0.6},
    "ordered_by": "ranker",
    "candidates": [
        {"item_id": "i2", "score": 0.93, "unmet": False, "ranks": {"als": 1}, "features": {"user_events": 12.0}}
    ],
}
_LETTER: Final = {
    "dead_letter_id": 4,
    "topic": "interaction_events",
    "partition": 0,
    "offset": 17,
    "reason": "invalid_field",
    "state": "open",
}

ANSWERS: Final[dict[str, Any]] = {
    "recommend_for_user": _LIST,
    "recommend": _LIST,
    **dict.fromkeys(("post_events", "post_watch", "post_search", "post_rating", "post_favorite"), _ACCEPTED),
    **dict.fromkeys(("post_feedback", "post_items", "patch_item", "delete_item"), _ACCEPTED),
    **dict.fromkeys(("post_users", "patch_user"), _ACCEPTED),
    "item_stats": {
        "items": 3110,
        "hidden": 2,
        "deleted": 0,
        "embedded": 3109,
        "waiting": 1,
        "oldest_waiting_s": 0.2,
        "encoder": "9f86d081884c7d65",
        "searchable": 3109,
        "arrivals": 12,
    },
    "list_items": {"items": [_ITEM], "next": "WyIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsImkxIl0"},
    "get_item": {**_ITEM, "attributes": {"year": 1995}},
    "search_items": {
        "query": "a thief and a detective",
        "items": [{"item_id": "i1", "rank": 1, "score": 0.71, "title": "Heat"}],
        "encoder": "9f86d081884c7d65",
        **_WELL,
        "took_ms": 2.3,
    },
    "similar_items": {
        "item_id": "i1",
        "by": "both",
        "items": [{**_LISTED, "score": 0.03, "source": "similar", "reason": "Similar to Heat"}],
        **_WELL,
        "took_ms": 1.9,
    },
    "onboarding": {
        "items": [{**_LISTED, "score": 1.0, "source": "onboarding", "reason": "Tells tastes apart"}],
        **_WELL,
        "took_ms": 0.4,
    },
    "model_info": {
        "model_name": "marquee",
        "alias": "champion",
        "version": "7",
        "digest": _VERSION["digest"],
        "run_id": _VERSION["run_id"],
        "trained_until": "2025-12-31T00:00:00Z",
        "loaded_at": "2026-01-01T00:00:02Z",
        "spec_hash": "1b4f0e9851971998",
        "items": 3110,
        "arrivals": 12,
        "encoder": "9f86d081884c7d65",
        "code_version": "492941c",
        "statistics_closed_at": "2026-01-01T00:00:00Z",
        "refused": None,
        "registry": "ok",
        "registry_error": None,
    },
    "model_reload": {"outcome": "unchanged", "version": "7"},
    "roll_back": {"alias": "champion", "version": "6", "before": "7", "served": True},
    "train_model": {
        "dag_id": "train_recommender",
        "run_id": "manual__2026-01-01T00:00:00+00:00",
        "state": "queued",
        "link": "http://127.0.0.1:18080/dags/train_recommender/runs/manual__2026-01-01T00:00:00+00:00",
    },
    "list_models": _VERSIONS,
    "get_model": _VERSION,
    "list_experiments": [],
    "health": _HEALTH,
    "health_live": {"alive": True},
    "health_ready": {"ready": True},
    "reconcile": {
        "holds": True,
        "partitions": [{"topic": "interaction_events", "partition": 0, "holds": True, "stored": 512, "lag": 0}],
        "trend": None,
    },
    "erase_user": {"user_id": "u1", "dry_run": False, "interactions": 42},
    "list_dead_letters": {"dead_letters": [_LETTER], "counts": {"open": 1}},
    "get_dead_letter": {**_LETTER, "raw": "{", "raw_base64": "ew=="},
    "fix_dead_letter": {**_LETTER, "raw": "{", "raw_base64": "ew==", "fixed_raw": "{}"},
    "replay_dead_letters": {"replayed": 1, "still_refused": [], "dry_run": False},
    "discard_dead_letters": {"discarded": 1, "dry_run": False},
    "get_user_features": _USER,
    "refresh_user_features": {
        **_USER,
        "refreshed": {"items_seen_before": 10, "items_seen": 11, "published": True},
    },
    "get_recommendation": _RECORD,
    "replay_recommendation": {
        "recommendation_id": _RECORD["recommendation_id"],
        "same": True,
        "items": _SAME,
        "order": {"same": True},
        "scores": {"same": True, "different": [], "different_count": 0},
        "candidates": _SAME,
        "feature_rows": {"same": True, "compared": 214, "different_count": 0, "features": []},
        "item_ids": ["i2"],
        "notes": [],
    },
    "list_audit_events": {
        "events": [
            {
                "audit_event_id": 12,
                "at": "2026-01-01T00:00:00Z",
                "actor": "admin",
                "action": "reload",
                "target": "7",
                "correlation_id": "2f1c8f0e8f0f4b8e9c606f3a4f5d7a11",
                "details": {"outcome": "loaded", "reason": None},
            }
        ]
    },
}
"""The body of a successful answer by operation id; of admin routes, whose answers have no schema, the main members."""

SAME_AS: Final = {
    "alias_recommend": "recommend_for_user",
    "alias_recs": "recommend_for_user",
    "alias_events": "post_events",
    "alias_models": "list_models",
    "alias_model": "get_model",
    "alias_roll_back": "roll_back",
    "alias_train": "train_model",
    "alias_experiments": "list_experiments",
    "alias_health": "health",
    "alias_health_live": "health_live",
    "alias_health_ready": "health_ready",
}
"""Aliases, and whose example they have."""

PARAMETERS: Final[dict[str, Any]] = {
    "user_id": "u1",
    "item_id": "i1",
    "k": 10,
    "limit": 10,
    "type": "feed",
    "categories": ["Drama"],
    "exclude": ["i9"],
    "include_seen": False,
    "seen_actions": ["purchase"],
    "diversity": 0.3,
    "fresh_share": 0.1,
    "fresh_draw": 0.5,
    "experiment_id": "homepage-1",
    "explain": True,
    "X-Deadline-Ms": 150,
    "if-none-match": 'W/"61bcf8ebd2d8f80fd2b5eb2b"',
    "idempotency-key": "batch-17",
    "cursor": "WyIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsImkxIl0",
    "category": "Drama",
    "include_hidden": False,
    "by": "both",
    "version": "7",
    "dead_letter_id": 4,
    "recommendation_id": _RECORD["recommendation_id"],
    "reason": "invalid_field",
    "topic": "interaction_events",
    "since": "2026-01-01T00:00:00Z",
    "until": "2026-01-02T00:00:00Z",
    "open": True,
    "trend": 24,
    "dry_run": True,
}
"""A value of each parameter by its name."""
