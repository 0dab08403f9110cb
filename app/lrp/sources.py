"""The papers that rules and composites come from."""

BACH_2015 = (
    "Bach et al. 2015, On pixel-wise explanations for non-linear classifier decisions by layer-wise "
    "relevance propagation, PLoS ONE 10(7), e0130140"
)
BACH_2016 = "Bach et al. 2016, Controlling explanatory heatmap resolution and semantics, ICIP, 2271–2275"
MONTAVON_2017 = (
    "Montavon et al. 2017, Explaining nonlinear classification decisions with deep Taylor decomposition, "
    "Pattern Recognition 65, 211–222"
)
MONTAVON_2019 = "Montavon et al. 2019, Layer-wise relevance propagation: an overview, LNCS 11700, 193–209"
ANDEOL_2021 = (
    "Andéol et al. 2021, Learning domain invariant representations by joint Wasserstein distance minimization"
)
KOHLBRENNER_2020 = (
    "Kohlbrenner et al. 2020, Towards best practice in explaining neural network decisions with LRP, IJCNN"
)
