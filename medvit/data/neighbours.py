"""Which images look alike: an index of embeddings on disk."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from medvit.atomic import write_bytes
from medvit.errors import ReadError


def index_file(folder: Path, model_sha256: str) -> Path:
    """Return where the embeddings of a model are kept: those of two models do not compare."""
    return folder / f"{model_sha256[:16]}.npz"


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourIndex:
    """Embeddings of cases.

    Attributes:
        case_ids: One for each row, each once.
        embeddings: `(n, d)` float32 of unit length.
        model: What made them, `name@version`.
    """

    case_ids: tuple[str, ...]
    embeddings: npt.NDArray[np.float32]
    model: str

    @classmethod
    def of(cls, case_ids: Sequence[str], embeddings: npt.NDArray[np.float32], model: str) -> Self:
        """Return an index; the rows are brought to unit length.

        Raises:
            ValueError: If rows and ids differ in number, an id is there twice, or a row is
                zero or not finite.
        """
        if embeddings.shape[:1] != (len(case_ids),) or embeddings.ndim != 2:
            msg = f"{len(case_ids)} cases need as many rows of embeddings, got {embeddings.shape}"
            raise ValueError(msg)
        if len(set(case_ids)) < len(case_ids):
            msg = f"{len(case_ids) - len(set(case_ids))} of {len(case_ids)} case ids are repeated"
            raise ValueError(msg)
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and (lengths > 0).all()):
            msg = "an embedding must be finite and not zero"
            raise ValueError(msg)
        return cls(tuple(case_ids), (embeddings / lengths).astype(np.float32), model)

    @classmethod
    def empty(cls) -> Self:
        """Return an index of no case."""
        return cls((), np.zeros((0, 0), np.float32), "")

    def joined(self, newer: NeighbourIndex, *, most: int) -> NeighbourIndex:
        """Return both; of a case in both the newer row counts, and of too many the newest stay.

        Rows of another length, which another network made, do not mix: the newer ones stay.

        Examples:
            >>> old = NeighbourIndex.of(["a", "b"], np.eye(2, dtype=np.float32), "m@1")
            >>> new = NeighbourIndex.of(["a"], np.array([[0, 1]], np.float32), "m@1")
            >>> old.joined(new, most=5).case_ids, old.joined(new, most=1).case_ids
            (('b', 'a'), ('a',))
        """
        replaced = {*newer.case_ids}
        kept = [row for row, name in enumerate(self.case_ids) if name not in replaced]
        if not kept or self.embeddings.shape[1] != newer.embeddings.shape[1]:
            kept = []
        ids = (*(self.case_ids[row] for row in kept), *newer.case_ids)
        parts = [self.embeddings[kept]] if kept else []
        rows = np.concatenate([*parts, newer.embeddings])
        return NeighbourIndex(ids[-most:], rows[-most:], newer.model)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read an index.

        Raises:
            FileNotFoundError: If there is none.
            ReadError: If the file is none.
        """
        try:
            with np.load(path, allow_pickle=False) as held:
                ids, model = held["case_ids"].tolist(), str(held["model"])
                return cls.of(ids, held["embeddings"], model)
        except (ValueError, KeyError, BadZipFile, EOFError) as error:
            msg = f"{path.name}: is no index of neighbours ({type(error).__name__})"
            raise ReadError(msg, reason="undecodable", hint="delete it and make it anew") from error

    def save(self, path: Path) -> None:
        """Write the index, whole or not at all.

        Raises:
            OSError: If the folder cannot be written.
        """
        stream = io.BytesIO()
        ids = np.array(self.case_ids, dtype=np.str_)
        np.savez(stream, case_ids=ids, embeddings=self.embeddings, model=np.str_(self.model))
        write_bytes(path, stream.getvalue())

    def __contains__(self, case_id: str) -> bool:
        return case_id in self.case_ids

    def nearest(self, case_id: str, *, count: int) -> list[tuple[str, float]]:
        """Return the cases nearest to one, and their cosine with it, nearest first.

        The case itself is left out; one that is not in the index has no neighbours.

        Examples:
            >>> rows = np.array([[1, 0], [3, 4], [0, 1]], np.float32)
            >>> index = NeighbourIndex.of(["a", "b", "c"], rows, "m@1")
            >>> [(name, round(cosine, 2)) for name, cosine in index.nearest("a", count=2)]
            [('b', 0.6), ('c', 0.0)]
        """
        if case_id not in self:
            return []
        own = self.case_ids.index(case_id)
        cosines = self.embeddings @ self.embeddings[own]
        order = np.argsort(-cosines, kind="stable")[: count + 1].tolist()
        return [(self.case_ids[i], float(cosines[i])) for i in order if i != own][:count]
