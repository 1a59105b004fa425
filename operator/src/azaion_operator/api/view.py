"""What the typed views of our kinds have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class View(BaseModel):
    """A frozen view of a part of an object: snake_case here, camelCase in the API.

    Unknown fields are kept, not refused: after a rollback an older operator meets objects that a newer one
    wrote, and what it does not understand it must carry along unchanged.
    """

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True)
