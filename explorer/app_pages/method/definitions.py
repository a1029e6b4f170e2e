"""The texts of the page Method: definitions of SI and its variants, and how to judge a number."""

from dataclasses import dataclass

NOTATION = (
    r"There are $n$ samples with labels $y_i$, $n_c$ of them in class $c$. $N_j(i)$ is the $j$-th nearest other sample "
    r"of sample $i$ among a layer's activations; equal distances go to the sample that comes first, and where "
    r"more than 5% of the samples have several nearest ones, nothing is concluded from SI. $[\cdot]$ is 1 where the "
    r"condition holds, else 0. *Chance* is the exact mean over all permutations of the labels."
)


@dataclass(frozen=True)
class Definition:
    """A measure as the page describes it.

    Attributes
    ----------
    name : str
        Title.
    measure : str
        Its value in the column `measure` of tables.
    formula : str
        Definition, in LaTeX.
    text : str
        What it is for, as Markdown.
    chance : str
        Chance level, in LaTeX; "" if it has no closed form.
    """

    name: str
    measure: str
    formula: str
    text: str
    chance: str = ""


FAMILY = (
    Definition(
        "Separation Index (SI), first order",
        "separation",
        r"\mathrm{SI} = \frac{1}{n}\sum_{i=1}^{n}\,[\,y_i = y_{N_1(i)}\,]",
        "The share of samples whose nearest other sample has the same label. It is the leave-one-out accuracy of a "
        "one-nearest-neighbor classifier, Thornton's separability index, and 1 − N3 of Ho and Basu.",
        r"\sum_c \frac{n_c(n_c-1)}{n(n-1)}",
    ),
    Definition(
        "Cross",
        "cross",
        r"\mathrm{SI}_\mathrm{cross} = \frac{1}{m}\sum_{i=1}^{m}\,[\,y_i = y_{N_1(i)}\,]",
        "The same from the $m$ test samples to the training samples: $N_1(i)$ is the nearest *training* sample. With "
        "$p_c$ and $q_c$ the share of class $c$ among the training and the test samples:",
        r"\sum_c p_c\,q_c",
    ),
    Definition(
        "Balanced",
        "balanced",
        r"\mathrm{SI}_\mathrm{bal} = \frac{1}{C}\sum_{c=1}^{C}\frac{1}{n_c}\sum_{i:\,y_i=c}[\,y_i = y_{N_1(i)}\,]",
        "The mean over the $C$ classes instead of samples, so that large classes do not outvote small ones. A class of "
        "one sample is left out.",
        r"\frac{1}{C}\sum_c \frac{n_c-1}{n-1}",
    ),
    Definition(
        "High order",
        "high_order",
        r"\mathrm{SI}_r = \frac{1}{n}\sum_i\prod_{j=1}^{r}\,[\,y_i = y_{N_j(i)}\,]",
        "The share of samples all of whose $r$ nearest have the same label: how far inside their class samples lie. "
        "Never above SI.",
        r"\sum_c \frac{n_c(n_c-1)\cdots(n_c-r)}{n(n-1)\cdots(n-r)}",
    ),
    Definition(
        "Soft",
        "soft",
        r"\mathrm{SI}^\mathrm{soft}_r = \frac{1}{n}\sum_i\frac{1}{r}\sum_{j=1}^{r}\,[\,y_i = y_{N_j(i)}\,]",
        "The mean share of the $r$ nearest that have the same label. Never below high order.",
        r"\sum_c \frac{n_c(n_c-1)}{n(n-1)}",
    ),
    Definition(
        "Anti",
        "anti",
        r"\mathrm{SI}^\mathrm{anti}_r = \frac{1}{n}\sum_i\prod_{j=1}^{r}\,[\,y_i \neq y_{N_j(i)}\,]",
        "The share of samples none of whose $r$ nearest has the same label. Lower is better.",
        r"\sum_c \frac{n_c}{n}\binom{n-n_c}{r}\Big/\binom{n-1}{r}",
    ),
    Definition(
        "Center",
        "center",
        r"\begin{gathered}\frac{1}{n}\sum_i\Big[\,y_i = \arg\min_c \lVert x_i-\mu_c^{(-i)}\rVert\,\Big]\\[1ex]"
        r"\lVert x_i-\mu_{y_i}^{(-i)}\rVert^2 = \Big(\frac{n_c}{n_c-1}\Big)^{2}\lVert x_i-\mu_{y_i}\rVert^2"
        r"\end{gathered}",
        r"The share of samples whose nearest class center $\mu_c$ is that of their class. The center must not contain "
        r"the sample itself; leaving the sample out multiplies the squared distance to the center of its class by "
        r"$(n_c/(n_c-1))^2$. Without this correction the measure is `center_in_sample`, which the original notebook "
        r"computed. Neither has a chance level in closed form; the mean over permuted labels is reported instead.",
    ),
    Definition(
        "Smoothness (for regression)",
        "smoothness",
        r"\begin{gathered}\mathrm{SmI} = \frac{1}{n}\sum_i \frac{d^{\max}_i - d_i}{d^{\max}_i - d^{\min}_i}\\[1ex]"
        r"\text{or}\quad\frac{1}{n}\sum_i \exp\Big(-\gamma\,\frac{d_i - d^{\min}_i}{d^{\mathrm{mean}}_i}\Big)"
        r"\end{gathered}",
        "$d_i$ is how far the target of sample $i$ is from the target of its nearest neighbor in the activations; "
        "largest, smallest and mean are over its target distances to all other samples. With $r$ neighbors: their "
        "smallest score (high) or their mean (soft). Chance by permuted targets only.",
    ),
)

JUDGING = r"""
**Chance** is the expected value with randomly permuted labels. It is computed exactly from the numbers of samples in
each class, by the formulas above, without random draws.

**Interval.** An interval answers one of two questions; the column `target` of a table says which one.

- `population`: what SI is expected of a *fresh* sample of the same size and classes? This is the band on the page
  Layers. Samples that share neighbors are not independent, so the effective number of samples is below $n$. It is
  estimated from the products of residuals over pairs of samples whose neighborhoods overlap, and used in Wilson's
  interval.
- `data`: what is the SI of *all samples at hand*, if only some of them are queries? Wilson's interval with the
  correction for a finite population: $m$ of $N$ queries count as $m\,(N-1)/(N-m)$ independent ones. If all samples are
  queries, the interval is the value itself.

**z, p and q.** The neighbor graph does not depend on the labels. So mean and variance of SI under permuted labels
follow in closed form from how many edges of the graph share a node (Schilling 1986; Henze 1988), and $z$ is the
distance from chance in standard deviations. $p$ is one-sided. Where at least 100 agreements are expected by chance it
comes from the normal distribution; below that the normal tail is wrong, and the labels are permuted 9,999 times on
the fixed graph, $p = (1+b)/(1+9999)$ with $b$ the permutations that reach the value. $q$ is $p$ after Benjamini and
Hochberg over all tests of a study. The headline uses none of them, because with 1,200 samples even a layer barely above
chance is "significant". A layer is called *clearly above chance* if its whole 95% interval lies above chance and its
value lies at least three binomial standard errors above chance.

**Where to cut.** A layer is recommended only where it is not worse than the best one by more than a tolerance (0.03 of
SI, unless another is chosen on *Decide*). A difference that is not significant does not prove that two layers are
equal; with few samples hardly any difference is significant. So the rule is a test of non-inferiority: the lower end of
the interval of the layer's difference to the best must lie above minus the tolerance. The intervals are paired, since
all layers use the same samples; they are widened for the number of layers by Bonferroni's inequality; and since the
layer with the highest value need not be the best one, a layer is compared with every layer that may be the best
(Hsu 1984). If no layer passes, the samples cannot decide, and the page says how many samples could, if all values
stayed the same. The best layer itself must be above chance by more than the tolerance.

**The headline** goes by the best layer's *excess*, (SI − chance) / (1 − chance): 0 at chance, 1 where every nearest
neighbor has the right label. Below 0.25 the classes are *hardly* separated, from 0.25 *partly*, from 0.5 *largely*,
from 0.9 *almost completely*; if the 95% interval crosses a limit, both levels are named. *Early*, *midway* and *late*
are the thirds of the layers in which half of that gain over chance is reached; if the intervals do not determine one
third, two of them are named, or none. A single layer has no such word, nor have hardly separated classes. The best of
many layers is partly the best by luck: so the lower end of its interval, its distance from chance, and the intervals by
which layers are compared hold for all layers together with 95% (Bonferroni). A rise or a fall is named only if the
interval of the difference excludes 0. If an interval is missing, Wilson's for independent samples is used and called
rough.

**A change from one study to another** is called certain if $q < 0.05$ over the compared layers. If it is not certain,
the interval shows how large it can be: within ±0.03, SI changed by less than that; otherwise the samples cannot decide.
*No certain change* never means *equal*. Layers are compared by name if all names of one study occur in the other, if
both studies are of the same network, or if at least half of the names of the smaller study occur in the other;
otherwise by relative position, which the sentence then says.
"""

SAMPLE_SIZE = """
SI rises with the number of samples, because the nearest one comes closer. On scikit-learn's digits it is 0.82 with 50
samples, 0.90 with 100, 0.97 with 400 and 0.99 with all 1,797. So compare layers, networks and data sets at equal
sizes only. A subsample of queries *and* possible neighbors is biased low for the samples at hand; a subsample of the
*queries* among all samples is not. The page *Sample size* shows both.
"""

NEIGHBORS = r"""
The nearest neighbors are exact: they minimize $\sum_k (a_k-b_k)^2$, evaluated in float64 on the unchanged activations.
Fast matrix products in lower precision only select candidates: the features are centered, the rounding error of each
product is bounded, and every sample within this bound remains a candidate. The candidates are then compared in float64.
Equal rows are exact ties; a duplicate of a sample is a valid neighbor, the sample itself never is. `flat` compares all
activations of a layer, `mean` the average of each channel over the image.
"""

CHECKING = """
**Samples to check** have few neighbors of their own label at the last 20 layers, but many of one other class. This does
not prove that a label is wrong: if classes look alike, samples with correct labels are listed too. Each study estimates
how often a wrong label is listed: it swaps 1% of the labels at a time with classes that the neighbors at its best
layer confuse, counts the votes again (neighbors do not depend on labels), and so predicts how many of the listed
samples would have a wrong label *if* 1, 2 or 5% of all labels were wrong. The true number is unknown. The prediction
assumes wrong labels of this kind, spread evenly, and a network that was not trained on them; images that themselves
look like the wrong class are listed less often. No number is given for the training samples of a network that came from
a file or was being trained, if 2% of the samples are fewer than five, or if swapped labels are listed less than twice
as often as others.

**Small classes.** If $k$ neighbors vote (kNN baseline, prediction depth, samples to check), a class with fewer than
$\\lfloor k/2 \\rfloor + 1$ other samples never has a majority, however well it is separated: it wins the vote only if
the other votes are divided among several classes, or by a tie. The pages say how many classes and samples this
concerns.

**Time.** In each round of a measurement all layers take turns. The share of the time that a cut saves is the median
over the rounds, shown with their range; if the range is wider than 20% of the time, the machine was busy, and no share
is given.

**Blocks** are judged by the accuracy of the network without them, measured by `python -m core blocks STUDY --verify`. A
block is *not worse* if the lower end of the interval of the change in accuracy lies above minus the tolerance; the
interval is paired on the same images and corrected for the number of blocks. SI before and after a block only describes
it.
"""

LESSON = r"""
**A center that contains the sample.** Take $n_c$ samples of no structure at all, in $d$ dimensions of variance
$\sigma^2$. The squared distance from a sample to the center of its own group is about $\sigma^2 d\,(1-1/n_c)$,
because the sample is a part of that center; to any other center it is about $\sigma^2 d\,(1+1/n_c)$. With 10 a class
this is 0.9 against 1.1, and in high dimension both vary little. So the center of the own group is nearest, *whatever
the labels are*: the measure detects the sample in the mean, not the class.

**Labels in another order than the activations.** The notebook collected the activations in one shuffled pass over the
images and the labels in another. Labels in another order are permuted labels: they no longer belong to the images. So
the reported curve must be compared with the permuted one, not with the one for true labels. The same network confirms
this: it reached 79.5% validation accuracy, yet its dense layer, of few dimensions, scored 0.138 on train and 0.143 on
test.

Together, a curve near 1.0 in the middle of the network says nothing about classes: permuted labels give the same.

**Leaving the sample out removes this advantage, but is not unbiased.** Now the center of the own class is the mean of
one sample fewer than the other centers and so lies farther away: $\sigma^2 d\,(1+1/(n_c-1))$ against
$\sigma^2 d\,(1+1/n_c)$. With permuted labels in high dimension the center of the own class is then hardly ever the
nearest, so this measure is biased downwards, and falls *below* guessing.

**In general:** compute any measure once with permuted labels. If the result does not fall to chance, it does not
measure classes.
"""

HOW_TO_CITE = """
Name the measure, its authors and this software, and what another person needs to get the same number: network and
weights, data with the number of samples and classes, split, pooling, sampling and seed. Every page shows all of this
under *How this was computed*, and *Configuration* saves it as a file. A complete example:

> SI (Kalhor et al., 2019) of the channel means of `top_conv` in EfficientNet-Lite0 (ImageNet weights), on 1,200 test
> images of 120 classes, is 0.56 (95% interval 0.52 to 0.59; chance 0.0075); exact nearest neighbors, seed 0,
> Separation Index Explorer 0.1.0.
"""

BIBTEX = """\
@misc{kalhor2019evaluation,
  title         = {Evaluation of Dataflow through layers of Deep Neural Networks
                   in Classification and Regression Problems},
  author        = {Kalhor, Ahmad and others},
  year          = {2019},
  eprint        = {1906.05156},
  archivePrefix = {arXiv}
}

@software{separation_index_explorer,
  title   = {Separation Index Explorer},
  version = {0.1.0},
  license = {Apache-2.0}
}"""

CITATIONS = """
- **Separation and Smoothness Index**: A. Kalhor et al. (2019). *Evaluation of Dataflow through layers of Deep Neural
  Networks in Classification and Regression Problems.* [arXiv:1906.05156](https://arxiv.org/abs/1906.05156)
- **Separability index**: C. Thornton (1998). *Separability is a learner's best friend.* Springer, London, 40–46.
- **N3**: T. K. Ho, M. Basu (2002). *Complexity measures of supervised classification problems.* IEEE TPAMI 24(3),
  289–300.
- **Nearest neighbors under permuted labels**: M. F. Schilling (1986). *Multivariate two-sample tests based on nearest
  neighbors.* JASA 81, 799–806. N. Henze (1988). *A multivariate two-sample test based on the number of nearest
  neighbor type coincidences.* Annals of Statistics 16, 772–783.
- **Interval**: E. B. Wilson (1927). *Probable inference, the law of succession, and statistical inference.* JASA 22,
  209–212.
- **Comparison with the best**: J. C. Hsu (1984). *Constrained simultaneous confidence intervals for multiple
  comparisons with the best.* Annals of Statistics 12, 1136–1144.
- **q-values**: Y. Benjamini, Y. Hochberg (1995). *Controlling the false discovery rate.* JRSS B 57, 289–300.
"""
