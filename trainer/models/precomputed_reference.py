"""A reference policy's log-probabilities and latents, computed once and read from memory-mapped files."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor

from trainer.data.text import Encoded
from trainer.errors import Stopped
from trainer.files import storage_errors, write_atomically
from trainer.models.latents import Latents, MaskChoice
from trainer.models.policy import PairBatch, Policy, collate
from trainer.models.reference import Reference, ReferenceView
from trainer.recipe import Run

CHUNK = 16
"""Texts per forward pass, and how much a killed run computes again."""

_STORED = {torch.float32: np.float32, torch.bfloat16: np.int16}
"""How a tensor lies in a file; bfloat16 as its bits, for which NumPy has no name."""


class PrecomputedReference(Reference):
    """Reads what ``fill`` has computed. Texts are known by their tokens, so equal ones are stored once.

    Files below ``directory``: ``logps`` (texts,) float32; ``latents`` (tokens of texts with latents, hidden) in
    ``dtype``; ``done`` (chunks,) bytes; ``contents.json``, which says what they are about.
    """

    def __init__(
        self,
        directory: Path,
        policy: Policy,
        logps_of: Sequence[Encoded],
        latents_of: Sequence[Encoded],
        mask: MaskChoice | None,
        dtype: torch.dtype,
    ) -> None:
        self.directory, self.mask, self.dtype, self.keeps_logps = directory, mask, dtype, bool(logps_of)
        self.pad_id, self.device, self.hidden_size = policy.pad_id, policy.device, int(policy.model.config.hidden_size)
        with_latents = {_key(row): row for row in latents_of} if mask else {}
        without = {_key(row): row for row in logps_of}
        texts = with_latents | {key: row for key, row in without.items() if key not in with_latents}
        # neighbours of one length are padded little
        first = sorted(with_latents, key=lambda key: texts[key].tokens)
        rest = sorted(texts.keys() - with_latents.keys(), key=lambda key: (texts[key].tokens, key))
        self.texts = {key: texts[key] for key in [*first, *rest]}
        self.positions = {key: position for position, key in enumerate(self.texts)}
        lengths = [_latent_tokens(self.texts[key], mask) if key in with_latents else 0 for key in self.texts]
        self.offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])

    @property
    def bytes(self) -> int:
        """Disk space of the files."""
        return 4 * len(self.texts) + self._rows * self.hidden_size * self.dtype.itemsize

    @property
    def _rows(self) -> int:
        return max(int(self.offsets[-1]), 1)  # an empty file cannot be mapped

    def fill(self, reference: Reference, run: Run) -> None:
        """Compute what is missing, shared out over the processes of the run, which see one disk.

        Raises StorageFailure where the disk has no room, before anything is computed, and Stopped on request; a
        second call continues.
        """
        state = PartialState()
        chunks = -(-len(self.texts) // CHUNK)
        if state.is_main_process:
            run.reporter.message(
                f"a frozen policy's values on {len(self.texts)} texts take {self.bytes:,} bytes in {self.directory}"
            )
            self._create(chunks)
        state.wait_for_everyone()
        self._open("r+")
        done = np.memmap(self.directory / "done", np.uint8, "r+", shape=(chunks,))
        missing = [int(chunk) for chunk in np.flatnonzero(done == 0)]
        state.wait_for_everyone()  # all have read what is missing before any fills it
        for count, chunk in enumerate(missing[state.process_index :: state.num_processes], start=1):
            if run.reporter.stop_requested():
                break
            self._compute(reference, list(self.texts.values())[chunk * CHUNK : (chunk + 1) * CHUNK])
            self.logps.flush()
            self.latents.flush()
            done[chunk] = 1
            done.flush()
            run.reporter.progress("reference", min(chunks - len(missing) + count * state.num_processes, chunks), chunks)
        state.wait_for_everyone()
        if not done.all():
            raise Stopped("stopped on request while precomputing the reference; it continues from there")
        self._open("r")

    def __call__(
        self, rows: Sequence[Encoded], batch: PairBatch, *, logps: bool, latents: MaskChoice | None
    ) -> ReferenceView:
        positions = [self.positions[_key(row)] for row in rows]
        return ReferenceView(
            torch.from_numpy(np.array(self.logps[positions])).to(batch.input_ids.device) if logps else None,
            self._read(positions, batch.input_ids.device) if latents else None,
        )

    def _read(self, positions: Sequence[int], device: torch.device) -> Latents:
        lengths = torch.tensor([self.offsets[i + 1] - self.offsets[i] for i in positions])
        hidden_states = torch.zeros(len(positions), int(lengths.max()), self.hidden_size, dtype=self.dtype)
        for row, position in enumerate(positions):
            stored = np.array(self.latents[self.offsets[position] : self.offsets[position + 1]])
            hidden_states[row, : len(stored)] = torch.from_numpy(stored).view(self.dtype)
        mask = torch.arange(hidden_states.shape[1]) < lengths[:, None]
        return Latents(hidden_states.to(device), mask.to(device))

    def _compute(self, reference: Reference, rows: Sequence[Encoded]) -> None:
        wanted = [position for position in (self.positions[_key(row)] for row in rows) if self._length(position)]
        view = reference(
            rows,
            collate(rows, self.pad_id).to(self.device),
            logps=self.keeps_logps,
            latents=self.mask if wanted else None,
        )
        first = self.positions[_key(rows[0])]
        if view.logps is not None:
            self.logps[first : first + len(rows)] = view.logps.float().cpu().numpy()
        for position in wanted:
            assert view.latents is not None
            row = position - first
            kept = view.latents.hidden_states[row][view.latents.mask[row]].to("cpu", self.dtype)
            self.latents[self.offsets[position] : self.offsets[position + 1]] = _as_stored(kept)

    def _length(self, position: int) -> int:
        return int(self.offsets[position + 1] - self.offsets[position])

    def _create(self, chunks: int) -> None:
        contents = {
            "texts": hashlib.sha256("".join(self.texts).encode()).hexdigest(),
            "latents": [self.mask, int(self.offsets[-1]), self.hidden_size, str(self.dtype)],
        }
        path = self.directory / "contents.json"
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) == contents:
            return
        with storage_errors(self.directory):
            shutil.rmtree(self.directory, ignore_errors=True)  # about something else, or never finished
            self.directory.mkdir(parents=True, exist_ok=True)
            sizes = {"logps": 4 * len(self.texts), "latents": self.bytes - 4 * len(self.texts), "done": chunks}
            for name, size in sizes.items():
                with (self.directory / name).open("wb") as file:
                    # with blocks of its own: writing to a map of a sparse file on a full disk kills the process
                    os.posix_fallocate(file.fileno(), 0, size)
        write_atomically(path, json.dumps(contents, indent=2) + "\n")

    def _open(self, mode: str) -> None:
        self.logps = np.memmap(self.directory / "logps", np.float32, mode, shape=(len(self.texts),))  # type: ignore[call-overload]
        shape = (self._rows, self.hidden_size)
        self.latents = np.memmap(self.directory / "latents", _STORED[self.dtype], mode, shape=shape)  # type: ignore[call-overload]


def _as_stored(tensor: Tensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
    return (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _latent_tokens(row: Encoded, mask: MaskChoice | None) -> int:
    return row.tokens - row.response_start if mask == "response" else row.tokens


def _key(row: Encoded) -> str:
    content = np.array([row.response_start, *row.input_ids], dtype=np.int32).tobytes()
    return hashlib.blake2b(content, digest_size=16).hexdigest()
