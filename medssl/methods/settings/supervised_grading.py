"""Settings of `supervised_grading`."""

from typing import ClassVar

from medssl.methods.settings import GradeMethodSettings


class Settings(GradeMethodSettings):
    """Cross-entropy on random views of the labelled images alone."""

    implementation: ClassVar[str] = "medssl.methods.grade.supervised_grading:SupervisedGrading"
    paper: ClassVar[str] = "Tiulpin et al., Sci. Rep. 8:1727, 2018"
    summary: ClassVar[str] = "cross-entropy on the labelled radiographs: the plain baseline"
