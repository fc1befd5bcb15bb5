"""One progress bar over trials and complete recipes, which take times of their own: weighed as they go."""

import time

from quantscope.core.progress import ProgressFn, report

_FIRST = 8  # trials after which their pace is known well enough


class Pace:
    """Reports how far a search and the measurements behind it are, in units of one trial."""

    def __init__(
        self, progress: ProgressFn | None, *, trials: int, recipes: int, recipe_seconds: float
    ) -> None:
        """Before the first trial.

        Args:
            progress: Told; may raise `Cancelled`.
            trials: That the search makes, about.
            recipes: That are measured after it.
            recipe_seconds: What building and running one takes, about.
        """
        self._progress, self._trials, self._recipes = progress, max(trials, 1), recipes
        self._recipe_seconds, self._began = recipe_seconds, time.perf_counter()
        self._weight = 0  # trials that a recipe is worth; 0 = not known yet

    @property
    def total(self) -> int:
        """All of it; 0 as long as the pace of trials is not known."""
        return self._trials + self._weight * self._recipes if self._weight else 0

    def tried(self, done: int) -> None:
        """So many trials are done."""
        done = min(done, self._trials)
        if not self._weight and done >= min(_FIRST, self._trials):
            trial = (time.perf_counter() - self._began) / done
            self._weight = max(1, round(self._recipe_seconds / max(trial, 1e-6)))
        report(self._progress, done if self._weight else 0, self.total, "trying precisions")

    def measured(self, recipes: int) -> None:
        """The search is over, and so many recipes are measured."""
        self._weight = self._weight or 1
        done = self._trials + self._weight * min(recipes, self._recipes)
        report(self._progress, done, self.total, "measuring recipes")
