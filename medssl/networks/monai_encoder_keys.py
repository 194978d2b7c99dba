"""Networks of MONAI with an encoder that can be pre-trained, and the arguments that shape it.

Free of torch and of MONAI, so that an encoder that does not fit is refused at once. How the encoder
is found in the network stands in `medssl.networks.monai_encoders`.
"""

MONAI_ENCODERS = {
    "monai:AttentionUnet": ("channels", "strides", "kernel_size"),
    "monai:BasicUNet": ("features", "act", "norm", "bias"),
    "monai:BasicUNetPlusPlus": ("features", "act", "norm", "bias"),
    "monai:DynUNet": ("kernel_size", "strides", "filters", "norm_name", "act_name", "res_block"),
    "monai:MedNeXt": (
        "init_filters",
        "encoder_expansion_ratio",
        "bottleneck_expansion_ratio",
        "kernel_size",
        "use_residual_connection",
        "blocks_down",
        "blocks_bottleneck",
        "norm_type",
        "global_resp_norm",
    ),
    "monai:SegResNet": ("init_filters", "blocks_down", "norm", "norm_name", "num_groups", "act"),
    "monai:SegResNetDS": ("init_filters", "blocks_down", "norm", "act", "resolution"),
    "monai:SwinUNETR": (
        "feature_size",
        "patch_size",
        "depths",
        "num_heads",
        "window_size",
        "mlp_ratio",
        "qkv_bias",
        "patch_norm",
        "downsample",
        "use_v2",
    ),
    "monai:UNETR": (
        "img_size",
        "feature_size",
        "hidden_size",
        "mlp_dim",
        "num_heads",
        "norm_name",
        "conv_block",
        "res_block",
        "qkv_bias",
    ),
    "monai:UNet": (
        "channels",
        "strides",
        "kernel_size",
        "num_res_units",
        "act",
        "norm",
        "bias",
        "adn_ordering",
    ),
    "monai:VNet": ("act", "bias"),
}

NORM_LAST = {
    "monai:BasicUNet": "norm",
    "monai:BasicUNetPlusPlus": "norm",
    "monai:DynUNet": "norm_name",
    "monai:UNet": "norm",
}
"""Those of them whose every level ends in a norm, and the argument that chooses it."""
